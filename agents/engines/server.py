"""Sampling on a server that takes token ids and gives token ids and log-probs: vLLM or SGLang, over HTTP.

vLLM: POST /v1/completions with ids as prompt and `return_token_ids`; read in its 0.31. SGLang: POST /generate; read in
its 0.5.23. New weights are written to a folder that the server reads, too. Of a model with an adapter these are its
base, once, and then the adapter alone, under a new name after every update.
"""

from __future__ import annotations

import math
import shutil
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spa_bench.agents.engines import Engine, Prompt, Sampled, Sampling
from spa_bench.agents.engines.http import Client, ServerError
from spa_bench.agents.engines.weights import adapted, room, save_adapter, save_untied
from spa_bench.core import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_Read = Callable[[Any], tuple[list[Any], list[Any]]]

ROUNDED = 1e-3
"""A log-prob may be above 0 by this much."""


class ServerEngine(Engine):
    """Sends whole sequences, and relies on the server's prefix cache. What it does not answer is an error."""

    def __init__(
        self,
        *,
        context: int,
        lora_rank: int = 0,
        url: str = "",
        kind: Literal["vllm", "sglang"] = "vllm",
        served: str = "",
        weights: str = "",
        merge: bool = False,
        key_variable: str = "SPA_BENCH_API_KEY",
        deadline: float = 300.0,
        retries: int = 5,
        in_flight: int = 64,
    ) -> None:
        """`context` is the longest sequence, `lora_rank` that of the adapter that is trained, 0 without one.

        `url` is the server's root, `served` its name of the model or adapter. `weights` is a folder that both can write
        and read: there each update is saved for the server. Without it the server's own weights are used, which must
        then be the trainer's. `merge` hands over an adapter merged into all weights in place of the adapter alone.
        UserError where the server cannot be used.
        """
        self.kind, self.served, self.rank, self.merge = kind, served, lora_rank, merge
        self.weights = Path(weights) if weights else None
        self.client = Client(url, key_variable=key_variable, deadline=deadline, retries=retries, in_flight=in_flight)
        self._loads = 0
        self._under: weakref.ref[PreTrainedModel] | None = None  # whose base the server has, without its adapter
        self.adapter = ""
        """Name of the adapter that is asked for; empty for `served`."""
        try:
            self._version = str(self._asked("GET", "/version" if kind == "vllm" else "/server_info")["version"])
            if kind == "vllm":
                self._choose_model(context)
        except (ServerError, KeyError, TypeError) as error:
            raise UserError(f"model.engine=server cannot use {self.client.place.hostname} as {kind}: {error}") from None

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Sampled]:
        """One request for each prompt."""
        path, body, read = self._endpoint()
        answers = self.client.post_all(path, [body(prompt, sampling) for prompt in prompts])
        return [checked(answer, read, sampling) for answer in answers]

    def generate_soon(
        self, prompts: deque[Prompt], sampling: Sampling
    ) -> Generator[tuple[Prompt, Sampled], None, None]:
        """The same, each reply when its own request is answered."""
        path, body, read = self._endpoint()
        for prompt, answer in self.client.post_soon(path, prompts, lambda prompt: body(prompt, sampling)):
            yield prompt, checked(answer, read, sampling)

    def load(self, model: PreTrainedModel) -> None:
        """Save the weights, let the server read them, and empty its prefix cache. UserError where that fails.

        Of a model with an adapter that is not merged all weights but these, and those once: its base does not change.
        """
        if self.weights is None:
            return
        named = adapted(model) and not self.merge
        try:
            if not named or self._under is None or self._under() is not model:
                self._send_weights(model, self.weights, merged=not named)
            self._under = weakref.ref(model) if named else None
            self._send_adapter(model if named else None, self.weights)
        except (ServerError, UserError) as error:
            raise UserError(f"the server did not take new weights ({error}): {self._remedy()}") from None

    def facts(self) -> dict[str, Any]:
        """Which server it is."""
        return {"name": "server", "kind": self.kind, "version": self._version, "served": self.served}

    def _endpoint(self) -> tuple[str, Callable[[Prompt, Sampling], dict[str, Any]], _Read]:
        """Where replies are asked for, what is sent there, and how an answer is read."""
        if self.kind == "vllm":
            return "/v1/completions", self._vllm, read_vllm
        return "/generate", self._sglang, read_sglang

    def _send_weights(self, model: PreTrainedModel, weights: Path, *, merged: bool) -> None:
        folder = weights / f"weights-{self._loads:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        save_untied(model, folder, merged=merged)
        if self.kind == "vllm":
            kwargs = {"weights_path": str(folder)}
            self._asked("POST", "/collective_rpc", {"method": "reload_weights", "kwargs": kwargs})
            self._asked("POST", "/reset_prefix_cache")
        else:
            told = self._asked("POST", "/update_weights_from_disk", {"model_path": str(folder), "flush_cache": True})
            if not told.get("success"):
                raise ServerError(str(told.get("message")))
        if self._loads:
            shutil.rmtree(weights / f"weights-{self._loads - 1:06d}", ignore_errors=True)
        self._loads += 1

    def _send_adapter(self, model: PreTrainedModel | None, weights: Path) -> None:
        """The adapter as it is now, or none, in place of the one before.

        Its name is new: a server keeps what it has read with an adapter under its name.
        """
        root = "/v1" if self.kind == "vllm" else ""
        if self.adapter:
            self.client.request("POST", f"{root}/unload_lora_adapter", {"lora_name": self.adapter}, parsed=False)
            shutil.rmtree(weights / self.adapter, ignore_errors=True)
            self.adapter = ""
        if model is None:
            return
        name = f"adapter-{uuid.uuid4().hex}"  # of no other run at this server, either
        building = weights / f".{name}"
        building.mkdir(parents=True)
        save_adapter(model, building)
        body = {"lora_name": name, "lora_path": str(building.rename(weights / name))}
        self.client.request("POST", f"{root}/load_lora_adapter", body, parsed=False)
        self.adapter = name

    def _remedy(self) -> str:
        start = "start vLLM with VLLM_SERVER_DEV_MODE=1" if self.kind == "vllm" else "start SGLang"
        if self.rank and not self.merge:
            if self.kind == "vllm":
                start += f", VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, --enable-lora and --max-lora-rank {room(self.rank)}"
            else:
                start += f" with --enable-lora, --max-lora-rank {self.rank} and --lora-target-modules all"
            start += " (or set model.engine_options.merge=true)"
        return f"{start}, on a machine that sees the folder model.engine_options.weights"

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
            "model": self.adapter or self.served,
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
        asked = {"input_ids": list(prompt.ids), "sampling_params": own, "return_logprob": True}
        return asked | ({"lora_path": self.adapter} if self.adapter else {})


def read_vllm(answer: Any) -> tuple[list[Any], list[Any]]:
    """Ids and log-probs of an answer of /v1/completions."""
    (choice,) = answer["choices"]
    return choice["token_ids"], choice["logprobs"]["token_logprobs"]


def read_sglang(answer: Any) -> tuple[list[Any], list[Any]]:
    """Ids and log-probs of an answer of /generate: triples of log-prob, id and text."""
    triples = answer["meta_info"]["output_token_logprobs"]
    return [one[1] for one in triples], [one[0] for one in triples]


def checked(answer: Any, read: _Read, sampling: Sampling) -> Sampled:
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
