"""Two steps of TRL's GRPO on a tiny model; what reaches its loss is the method's own number."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import language_model
from trl import GRPOConfig, GRPOTrainer

from spa_bench.core import UserError
from spa_bench.interop.trl import Episodes, StepGRPOTrainer, StepRewards

WORLD = {"train": 6, "valid": 2, "max_steps": 3}
COUNTING = """
import numpy as np
from spa_bench import RewardMethod


class Counting(RewardMethod):
    def rewards(self, group):
        return [np.arange(1.0, len(episode) + 1) for episode in group]
"""


def counting(folder: Path) -> StepRewards:
    """1, 2, 3, ...: of an episode of three steps the returns are 6, 5 and 3."""
    (folder / "counting.py").write_text(COUNTING, encoding="utf-8")
    return StepRewards(f"{folder / 'counting.py'}:Counting")


def episodes(rewards: StepRewards, **changes: object) -> Episodes:
    agent = language_model()
    given = {"options": WORLD, "context": 512, "max_new_tokens": 4, "told": False} | changes
    return Episodes("alfworld", rewards, agent.model, agent.tokenizer, **given)


def trainer(made: Episodes, folder: Path, kind: type[GRPOTrainer] = StepGRPOTrainer, **changes: object) -> GRPOTrainer:
    settings = {"max_steps": 2, "per_device_train_batch_size": 4, "num_generations": 2, "learning_rate": 1e-3}
    quiet = {
        "report_to": [],
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
        "gradient_checkpointing": False,
    }
    config = GRPOConfig(output_dir=str(folder), logging_steps=1, **quiet, **(settings | changes))
    return kind(
        model=made.agent.model, processing_class=made.agent.tokenizer, args=config, train_dataset=made.dataset(count=2),
        reward_funcs=made.reward(), rollout_func=made.rollout,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[GRPOTrainer, list[torch.Tensor], dict]:
    """After two steps; the weights before, and a rollout of them."""
    folder = tmp_path_factory.mktemp("trl")
    made = episodes(counting(folder))
    found = trainer(made, folder)
    before = [weight.detach().clone() for weight in found.model.parameters()]
    rolled = made.rollout([row["prompt"] for row in found.train_dataset], found)
    rolled["logprobs by the model"] = [
        logprobs(found.model, prompt, reply)
        for prompt, reply in zip(rolled["prompt_ids"], rolled["completion_ids"], strict=True)
    ]
    found.train()
    return found, before, rolled


@torch.no_grad()
def logprobs(model: torch.nn.Module, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """Of each token of the completion, read in one pass."""
    logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(completion)[:, None])[:, 0]


def test_two_steps_change_the_weights(trained) -> None:
    found, before, _ = trained
    assert found.state.global_step == 2
    assert any(not torch.equal(a, b) for a, b in zip(before, found.model.parameters(), strict=True))


def test_the_sum_is_logged_under_its_own_name(trained) -> None:
    found, *_ = trained
    (row, *_) = found.state.log_history
    assert row["rewards/sum of step rewards: counting.Counting/mean"] == 6.0
    assert "reward_funcs" not in row and row["frac_reward_zero_std"] == 1.0


def test_each_token_has_the_advantage_of_its_turn(trained) -> None:
    """Returns 6, 5, 3 in every episode: mean 14/3, standard deviation sqrt(14)/3; GRPO's one number would be 0."""
    found, *_ = trained
    hand = [(value - 14 / 3) / (math.sqrt(14) / 3) for value in (6, 5, 3)]
    batch = found._buffered_inputs[0]
    for advantages, mask in zip(batch["advantages"], batch["completion_mask"] * batch["tool_mask"], strict=True):
        turns = torch.unique_consecutive(advantages[mask == 1])
        assert turns.tolist() == pytest.approx(hand, abs=1e-6)
        assert not advantages[mask == 0].any()


def test_a_rollout_is_what_the_model_has_read_and_written(trained) -> None:
    _, _, rolled = trained
    assert rolled["step_rewards"] == [[1.0, 2.0, 3.0]] * 2 and rolled["world"] == ["alfworld"] * 2
    assert [len(turns) for turns in rolled["grounded"]] == [3, 3] and rolled["success"] == [False, False]
    for scored, sampled, mask in zip(
        rolled["logprobs by the model"], rolled["logprobs"], rolled["env_mask"], strict=True
    ):
        own = torch.tensor(mask) == 1
        assert own.any() and not own.all()
        assert torch.tensor(sampled)[own] == pytest.approx(scored[own], abs=1e-4)


def test_rewards_without_a_fit_are_refused_and_with_one_given(tmp_path: Path) -> None:
    made = episodes(StepRewards("rudder"))
    names = [row["prompt"] for row in made.dataset(count=1)]
    found = trainer(made, tmp_path)
    with pytest.raises(UserError, match=r"^reward rudder: it learns from explored episodes first: call `fit`$"):
        made.rollout(names, found)
    made.fit(tasks=2, samples=1)
    assert len(made.rollout(names, found)["step_rewards"][0]) == 3


def test_a_fitted_method_prices_episodes_without_tokens_alike() -> None:
    """As other trainers give them: the model that it was fitted with reads their text."""
    made = episodes(StepRewards("rudder"))
    made.fit(tasks=2, samples=1)
    told = made._demonstrations(list(made._tasks.values()))
    bare = [replace(one, steps=tuple(replace(step, tokens=None) for step in one.steps)) for one in told]
    for wanted, found in zip(made.rewards(told), made.rewards(bare), strict=True):
        assert wanted.any() and found == pytest.approx(wanted, abs=1e-9)


def test_a_world_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = episodes(StepRewards("uniform"))
    found = trainer(made, tmp_path)

    def broken(self: object, action: str) -> None:
        raise ZeroDivisionError("no such place")

    monkeypatch.setattr(type(made.env), "step", broken)
    with pytest.raises(
        UserError, match=r"environment alfworld: step of task .* raised ZeroDivisionError: no such place"
    ):
        found.train()


@pytest.mark.parametrize(
    ("changes", "settings", "line"),
    [
        ({}, {"top_p": 0.9}, r"^GRPOConfig: top_p is not heeded in these episodes: leave it at 1.0$"),
        ({}, {"temperature": 0.7}, r"^GRPOConfig: temperature is not heeded .*: leave it at 1.0$"),
        ({"context": 180}, {}, r"longer than the context, and TRL takes one sequence for each: raise `context`"),
    ],
)
def test_what_trl_would_not_heed_or_take_is_refused(changes, settings, line, tmp_path: Path) -> None:
    made = episodes(StepRewards("sparse"), options=WORLD | {"max_steps": 6}, **changes)
    with pytest.raises(UserError, match=line):
        trainer(made, tmp_path, **settings).train()


def test_a_trainer_of_turns_needs_the_episodes(tmp_path: Path) -> None:
    agent = language_model()
    config = GRPOConfig(
        output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=2, num_generations=2, report_to=[],
        use_cpu=True, bf16=False, max_completion_length=2, disable_tqdm=True,
    )  # fmt: skip
    made = episodes(StepRewards("sparse"))
    alone = StepGRPOTrainer(
        model=agent.model, processing_class=agent.tokenizer, args=config, train_dataset=made.dataset(count=1),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
    )  # fmt: skip
    with pytest.raises(UserError, match="StepGRPOTrainer needs rollout_func"):
        alone.train()


def test_methods_that_play_trees_are_refused() -> None:
    with pytest.raises(UserError, match=r"^reward 3spo: it tries several replies in one state"):
        StepRewards("3spo")
