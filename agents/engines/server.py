"""Sampling on a server that takes token ids and gives token ids and log-probs: vLLM or SGLang, over HTTP.

vLLM: POST /v1/completions with ids as prompt and `return_token_ids`; read in its 0.31. SGLang: POST /generate; read in
its 0.5.23. New weights are written to a folder that the server reads, too.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spa_bench.agents.engines import Engine, Prompt, Sampled, Sampling
from spa_bench.agents.engines.http import Client, ServerError
from spa_bench.agents.engines.weights import save_untied
from spa_bench.core import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROUNDED = 1e-3
"""A log-prob may be above 0 by this much."""


class ServerEngine(Engine):
    """Sends whole sequences, and relies on the server's prefix cache. What it does not answer is an error."""

    def __init__(
        self,
        *,
        context: int,
        url: str = "",
        kind: Literal["vllm", "sglang"] = "vllm",
        served: str = "",
        weights: str = "",
        key_variable: str = "SPA_BENCH_API_KEY",
        deadline: float = 300.0,
        retries: int = 5,
        in_flight: int = 64,
    ) -> None:
        """`context` is the longest sequence, `url` the server's root, `served` its name of the model or adapter.

        `weights` is a folder that both can write and read: there each update is saved for the server. Without it the
        server's own weights are used, which must then be the trainer's. UserError where the server cannot be used.
        """
        self.kind, self.served = kind, served
        self.weights = Path(weights) if weights else None
        self.client = Client(url, key_variable=key_variable, deadline=deadline, retries=retries, in_flight=in_flight)
        self._loads = 0
        try:
            self._version = str(self._asked("GET", "/version" if kind == "vllm" else "/server_info")["version"])
            if kind == "vllm":
                self._choose_model(context)
        except (ServerError, KeyError, TypeError) as error:
            raise UserError(f"model.engine=server cannot use {self.client.place.hostname} as {kind}: {error}") from None

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Sampled]:
        """One request for each prompt."""
        path, body = ("/v1/completions", self._vllm) if self.kind == "vllm" else ("/generate", self._sglang)
        answers = self.client.post_all(path, [body(prompt, sampling) for prompt in prompts])
        read = read_vllm if self.kind == "vllm" else read_sglang
        return [checked(answer, read, sampling) for answer in answers]

    def load(self, model: PreTrainedModel) -> None:
        """Save the weights, let the server read them, and empty its prefix cache. UserError where that fails."""
        if self.weights is None:
            return
        folder = self.weights / f"weights-{self._loads:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        save_untied(model, folder)
        try:
            if self.kind == "vllm":
                self._asked(
                    "POST", "/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
                )
                self._asked("POST", "/reset_prefix_cache")
            else:
                told = self._asked(
                    "POST", "/update_weights_from_disk", {"model_path": str(folder), "flush_cache": True}
                )
                if not told.get("success"):
                    raise ServerError(str(told.get("message")))
        except ServerError as error:
            raise UserError(
                f"the server did not take new weights ({error}): start vLLM with VLLM_SERVER_DEV_MODE=1, on a machine "
                "that sees the folder model.engine_options.weights"
            ) from None
        if self._loads:
            shutil.rmtree(self.weights / f"weights-{self._loads - 1:06d}", ignore_errors=True)
        self._loads += 1

    def facts(self) -> dict[str, Any]:
        """Which server it is."""
        return {"name": "server", "kind": self.kind, "version": self._version, "served": self.served}

    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self.client.request(method, path, body)

    def _choose_model(self, context: int) -> None:
        """The only model of the server where none is named; UserError where its context is shorter than the run's."""
        models = {one["id"]: one.get("max_model_len") for one in self._asked("GET", "/v1/models")["data"]}
        if not self.served and len(models) == 1:
            (self.served,) = models
        if self.served not in models:
            raise UserError(
                f"set model.engine_options.served to one of the server's models: {', '.join(sorted(models))}"
            )
        if isinstance(longest := models[self.served], int) and longest < context:
            raise UserError(
                f"the server takes {longest} tokens and model.context is {context}: lower one or raise the other"
            )

    def _vllm(self, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
        # All that a model's generation configuration could set at the server is set here.
        plain = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "skip_special_tokens": False}
        return {
            "model": self.served,
            "prompt": list(prompt.ids),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "seed": prompt.seed,
            "stop_token_ids": sorted(sampling.ends),
            "ignore_eos": True,
            "logprobs": 0,
            "return_token_ids": True,
            **plain,
        }

    def _sglang(self, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
        own = {
            "max_new_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "sampling_seed": prompt.seed % 2**31,
            "stop_token_ids": sorted(sampling.ends),
            "ignore_eos": True,
            "top_p": 1.0,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
        }
        return {"input_ids": list(prompt.ids), "sampling_params": own, "return_logprob": True}


def read_vllm(answer: Any) -> tuple[list[Any], list[Any]]:
    """Ids and log-probs of an answer of /v1/completions."""
    (choice,) = answer["choices"]
    return choice["token_ids"], choice["logprobs"]["token_logprobs"]


def read_sglang(answer: Any) -> tuple[list[Any], list[Any]]:
    """Ids and log-probs of an answer of /generate: triples of log-prob, id and text."""
    triples = answer["meta_info"]["output_token_logprobs"]
    return [one[1] for one in triples], [one[0] for one in triples]


def checked(answer: Any, read: Any, sampling: Sampling) -> Sampled:
    """The reply of an answer; an error where it is none, so that nothing is trained on what was not sampled."""
    if isinstance(answer, ServerError):
        return Sampled((), (), error=str(answer))
    try:
        ids, logprobs = read(answer)
        wrong = _wrong(list(ids), list(logprobs), sampling)
    except (KeyError, TypeError, ValueError, IndexError):
        return Sampled((), (), error="the server's answer holds no token ids and log-probs")
    if wrong:
        return Sampled((), (), error=f"the server's answer is wrong: {wrong}")
    return Sampled(tuple(ids), tuple(map(float, logprobs)))


def _wrong(ids: list[Any], logprobs: list[Any], sampling: Sampling) -> str:
    if not 1 <= len(ids) <= sampling.max_new_tokens or len(ids) != len(logprobs):
        return f"{len(ids)} tokens and {len(logprobs)} log-probs"
    if not all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**31 for one in ids):
        return "ids that are none"
    if not all(
        isinstance(one, int | float) and not isinstance(one, bool) and -math.inf < one <= ROUNDED for one in logprobs
    ):
        return "log-probs that are none"
    if any(one in sampling.ends for one in ids[:-1]) or (
        len(ids) < sampling.max_new_tokens and ids[-1] not in sampling.ends
    ):
        return "a reply that does not stop where it ends"
    return ""
