"""Behaviour cloning: TRL's SFTTrainer on expert episodes, loss on the assistant's tokens only."""

from __future__ import annotations

import contextlib
import logging
import math
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from spa_bench.config import WarmStartConfig
from spa_bench.training import ranks, sharding
from spa_bench.training.batches import Sequences
from spa_bench.training.masters import MasterAdamW
from spa_bench.training.policy import Policy

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback


MAX_GRAD_NORM = 1.0
"""The Trainer's default."""

BLOCK = 50
"""Batches among which lengths are sorted, as in transformers' `group_by_length`."""


@dataclass(frozen=True)
class Demonstration:
    """One expert episode to be cloned."""

    episode: Sequences
    taught: NDArray[np.bool_]
    """(T,): the turn is the teacher's own choice; the others, made to show recovery, are context only."""


def clone(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Sequence[Demonstration],
    settings: WarmStartConfig,
    *,
    recompute: bool,
    packed: bool,
    seed: int,
    on_step: Callable[[int, int, float | None], None],
) -> dict[str, float]:
    """Train `model` in place on packed demonstrations; returns the figures of the last log line.

    A batch is read as `Policy` reads it (`recompute` and `packed` are its own), and of the output layer only what is
    taught: of the tokens of an episode that is a tenth.
    `on_step(step, steps, loss)` is called before the first step, with 0, after each step, and at each log, which alone
    knows a loss. The global random states are restored afterwards.
    """
    from datasets import Dataset  # type: ignore[import-untyped]
    from transformers import PrinterCallback
    from trl import SFTConfig  # type: ignore[attr-defined]

    rows = [row for demonstration in demonstrations for row in _examples(demonstration)]
    lengths = np.array([len(row["labels"]) for row in rows])
    order = _schedule(lengths, settings.epochs, settings.batch, np.random.default_rng(seed))
    losses: list[float] = []

    with _kept_random_state(), tempfile.TemporaryDirectory() as scratch:
        with warnings.catch_warnings():
            # transformers 5.23 has another name for it, which earlier versions do not know
            warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)
            with _without_advice():
                config = SFTConfig(output_dir=scratch, **_trainer_settings(model, settings, seed))
        config._n_gpu = min(config.n_gpu, 1)  # with several in sight the batch would grow with their number
        if model.device.index:  # the Trainer would take the first in sight
            vars(config)["_setup_devices"] = model.device
            torch.cuda.set_device(model.device)
        network = Policy(model, recompute=recompute, packed=packed)
        trained = sharding.trained(network)
        trainer = _trainer_of(trained)(
            model=model, args=config, train_dataset=Dataset.from_list(rows).select(order),
            data_collator=_collated, processing_class=tokenizer, callbacks=[_report(on_step, losses)],
            optimizers=(_optimizer(trained.model, settings), None),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)  # it prints each log line as a dictionary
        trainer.train()
        sharding.give_weights(trained, network)
    model.train(False)
    return {"loss": losses[-1] if losses else float("nan"), "sequences": float(len(rows))}


def _report(on_step: Callable[[int, int, float | None], None], losses: list[float]) -> TrainerCallback:
    """Calls `on_step` as `clone` says, and adds each loss to `losses`."""
    from transformers import TrainerCallback

    class Report(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            on_step(0, state.max_steps, None)

        def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            on_step(state.global_step, state.max_steps, None)

        def on_log(self, args, state, control, logs=None, **kwargs):  # type: ignore[no-untyped-def]
            if logs and "loss" in logs:
                losses.extend(ranks.summed([float(logs["loss"])]))
                on_step(state.global_step, state.max_steps, losses[-1])

    return Report()


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """That the Trainer is one of several processes and does not share out its work is as it should be here."""
    logger = logging.getLogger("transformers.training_args")
    logger.addFilter(refused := lambda record: "process group is initialized" not in record.getMessage())
    try:
        yield
    finally:
        logger.removeFilter(refused)


def _optimizer(model: PreTrainedModel, settings: WarmStartConfig) -> MasterAdamW | None:
    """AdamW on fp32 masters, with the gradients of all ranks, clipped as the Trainer's.

    The Trainer would step bf16 weights themselves, where most of a step is lost. None, for its own, where all is fp32
    and there is one rank.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if all(weight.dtype == torch.float32 for weight in weights) and ranks.size() == 1:
        return None
    found = MasterAdamW([{"params": weights}], lr=settings.learning_rate, betas=(0.9, settings.beta2), weight_decay=0.0)

    def clip(*_: Any) -> None:
        ranks.sum_gradients(found)
        torch.nn.utils.clip_grad_norm_(found.param_groups[0]["params"], MAX_GRAD_NORM)

    found.register_step_pre_hook(clip)
    found.register_step_post_hook(lambda *_: found.zero_grad())  # the Trainer knows the model, not what is in parts
    return found


def _examples(demonstration: Demonstration) -> Iterator[dict[str, list[int]]]:
    """One training example per sequence: ids, and labels that are -100 wherever nothing is taught."""
    episode = demonstration.episode
    taught = episode.where[np.repeat(demonstration.taught, episode.lengths)]
    for number, ids in enumerate(episode.ids):
        labels = np.full(len(ids), -100)
        spoken = taught[taught[:, 0] == number, 1]
        labels[spoken] = ids[spoken]
        if len(spoken):
            yield {"input_ids": ids.tolist(), "labels": labels.tolist()}


def _trainer_of(network: Policy) -> Any:
    """TRL's trainer with its loss, the mean over all that is taught in a batch; without a GPU, TRL's own computes the
    output layer for every token.

    Every rank is given the whole batch, and has the part of the loss that its share of the episodes makes.
    """
    from trl import SFTTrainer  # type: ignore[attr-defined]

    class Trainer(SFTTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # type: ignore[no-untyped-def]
            episodes: list[Sequences] = inputs["episodes"]
            own = [episodes[i] for i in ranks.dealt([episode.size for episode in episodes])]
            if not own:  # a pass that counts for nothing, as every rank makes one
                return 0.0 * network(episodes[:1]).logprobs.sum()
            return -network(own).logprobs.sum() / sum(len(episode.where) for episode in episodes)

    return Trainer


def _collated(rows: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
    """A batch as `Policy` reads it: of each example its ids, and the places of what is taught. The ids are also in one
    row, by which the Trainer counts.
    """
    episodes = []
    for row in rows:
        places = np.flatnonzero(np.array(row["labels"]) != -100)
        where = np.stack([np.zeros_like(places), places], axis=1)
        episodes.append(Sequences((np.array(row["input_ids"], dtype=np.int64),), where, np.array([len(places)])))
    ids = torch.tensor([token for row in rows for token in row["input_ids"]])
    return {"input_ids": ids[None], "episodes": episodes}


def _trainer_settings(model: PreTrainedModel, settings: WarmStartConfig, seed: int) -> dict[str, Any]:
    """SFTConfig's arguments: nothing is packed, cut, saved, reported or drawn."""
    return {
        "per_device_train_batch_size": settings.batch,
        "num_train_epochs": 1,  # the order of the examples holds every pass
        "train_sampling_strategy": "sequential",
        "learning_rate": settings.learning_rate,
        "warmup_steps": settings.warmup,
        "lr_scheduler_type": "cosine",
        "weight_decay": 0.0,
        "adam_beta2": settings.beta2,
        "max_grad_norm": MAX_GRAD_NORM if ranks.size() == 1 else 0.0,  # of the sum, before the optimiser's step
        "max_length": None,
        "packing": False,
        "bf16": False,  # it stands for autocast; the model computes in the dtype of its weights
        "use_cpu": model.device.type == "cpu",
        "seed": seed % 2**32,
        "data_seed": seed % 2**32,
        "save_strategy": "no",
        "report_to": [],
        "logging_steps": 10,
        "disable_tqdm": True,
        "gradient_checkpointing": False,  # `recomputed` is used instead
        "dataloader_pin_memory": False,
    }


def _schedule(lengths: NDArray[np.int64], epochs: float, batch: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Order of examples in which each batch has similar lengths, so that little is padding; the batches are shuffled.

    Transformers' `group_by_length` goes from long to short over and over: after 500 steps of 8 the clone of the
    embedded default solved 10 % of held-out tasks, and 35 % when trained in random order, which took 1.8 times as long.
    """
    passes = [rng.permutation(len(lengths)) for _ in range(math.ceil(epochs))]
    chosen = np.concatenate(passes)[: round(epochs * len(lengths))]
    schedule: list[NDArray[np.int64]] = []
    for block in np.split(chosen, range(BLOCK * batch, len(chosen), BLOCK * batch)):
        alike = block[np.argsort(lengths[block], kind="stable")]
        batches = np.split(alike, range(batch, len(alike), batch))
        rest = [batches.pop()] if len(batches[-1]) < batch else []  # the last batch of all may be short
        schedule += [batches[i] for i in rng.permutation(len(batches))] + rest
    return np.concatenate(schedule)


@contextlib.contextmanager
def _kept_random_state() -> Iterator[None]:
    """The Trainer seeds every global generator; leave them as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - saved to be restored, not drawn from
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
