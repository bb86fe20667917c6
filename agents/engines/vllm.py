"""Sampling with vLLM in this process, beside the trainer: the extra `vllm`.

Read in 0.31 and run with the CPU build of 0.32. New weights go in by `reload_weights` with an iterator. That leaves an
output layer that is tied to the embedding as it was, without a word, so vLLM is given a model whose two are not tied.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spa_bench.agents.engines import Engine, Prompt, Sampled, Sampling
from spa_bench.agents.engines.weights import save_untied, untied
from spa_bench.core import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class VLLMEngine(Engine):
    """Starts with the first `load`. Its prefix cache holds what conversations share."""

    def __init__(
        self,
        *,
        context: int,
        gpu_memory_utilization: float = 0.4,
        enforce_eager: bool = False,
        tensor_parallel_size: int = 1,
    ) -> None:
        """`context` is the longest sequence. The others are vLLM's; the trainer needs the rest of the GPU's memory."""
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # weights are handed over as they are, not pickled
        try:
            self._vllm: Any = importlib.import_module("vllm")
        except ImportError as error:
            raise UserError(f"model.engine=vllm: {error}; pip install 'spa-bench[vllm]'") from None
        self.context = context
        self.settings = {
            "gpu_memory_utilization": gpu_memory_utilization,
            "enforce_eager": enforce_eager,
            "tensor_parallel_size": tensor_parallel_size,
        }
        self._llm: Any = None
        self._asleep = False

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Sampled]:
        """All prompts at once; vLLM decides what runs together."""
        self._wake()
        asked = [{"prompt_token_ids": list(prompt.ids)} for prompt in prompts]
        own = [self._vllm.SamplingParams(**arguments(prompt.seed, sampling)) for prompt in prompts]
        replies = [answer.outputs[0] for answer in self._llm.generate(asked, own, use_tqdm=False)]
        return [
            Sampled(
                tuple(reply.token_ids),
                tuple(at[token].logprob for token, at in zip(reply.token_ids, reply.logprobs, strict=True)),
            )
            for reply in replies
        ]

    def load(self, model: PreTrainedModel) -> None:
        """Hand over all weights, and forget what was read with the old ones; the first time vLLM is started."""
        if self._llm is None:
            self._begin(model)
            return
        self._wake()
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(untied(model).items())})
        self._llm.reset_prefix_cache()

    def release(self) -> None:
        """Weights to the host, the cache away, on a GPU; a CPU has nothing to gain."""
        if self._llm is not None and self._sleeps() and not self._asleep:
            self._llm.sleep(level=1)
            self._asleep = True

    def facts(self) -> dict[str, Any]:
        """The version of vLLM; its settings are in the configuration."""
        return {"name": "vllm", "version": str(self._vllm.__version__)}

    def _begin(self, model: PreTrainedModel) -> None:
        with tempfile.TemporaryDirectory() as folder:
            save_untied(model, Path(folder))
            self._llm = self._vllm.LLM(
                model=folder,
                skip_tokenizer_init=True,
                generation_config="vllm",  # no sampling settings of the model's own
                dtype=str(model.dtype).removeprefix("torch."),
                max_model_len=self.context,
                logprobs_mode="processed_logprobs",  # after the temperature
                enable_prefix_caching=True,
                enable_sleep_mode=self._sleeps(),
                seed=0,
                **self.settings,
            )

    def _sleeps(self) -> bool:
        return bool(self._vllm.platforms.current_platform.is_cuda())

    def _wake(self) -> None:
        if self._asleep:
            self._llm.wake_up()
            self._asleep = False


def arguments(seed: int, sampling: Sampling) -> dict[str, Any]:
    """Of vLLM's `SamplingParams`; no text is made of the ids."""
    return {
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_new_tokens,
        "seed": seed,
        "stop_token_ids": sorted(sampling.ends),
        "ignore_eos": True,
        "logprobs": 0,
        "detokenize": False,
    }
