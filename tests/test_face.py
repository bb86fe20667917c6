"""What `import spa_bench` gives: names that are loaded when asked for; and every import path that pages ever named."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spa_bench

ROOT = Path(__file__).resolve().parent.parent
PROMISED = ("Task", "Step", "Trajectory", "TextEnv", "Agent", "RewardMethod", "check_reward", "load_results")
HEAVY = ("torch", "pandas", "transformers", "trl", "datasets", "scipy", "matplotlib", "pyarrow")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True)


def test_the_promised_names_are_there_in_a_fresh_process():
    done = python(f"from spa_bench import {', '.join(PROMISED)}; print(load_results.__module__, Task.__module__)")
    assert (done.stdout, done.stderr) == ("spa_bench.analysis.load spa_bench.core\n", "")


def test_importing_loads_nothing_heavy_and_prints_nothing():
    done = python(f"import spa_bench, sys; print(sorted(set({HEAVY}) & set(sys.modules)))")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_names_themselves_load_no_pandas_and_no_deep_learning():
    done = python(f"from spa_bench import *; import sys; print(sorted(set({HEAVY}) - {{'scipy'}} & set(sys.modules)))")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_names_are_listed_before_they_are_loaded():
    done = python("import spa_bench; print({*spa_bench.__all__} - {*dir(spa_bench)}, 'Task' in vars(spa_bench))")
    assert (done.stdout, done.stderr) == ("set() False\n", "")


@pytest.mark.parametrize("name", spa_bench.__all__)
def test_a_name_is_the_one_of_its_home(name: str):
    home = "spa_bench.version" if name == "__version__" else spa_bench._HOMES[name]
    assert getattr(spa_bench, name) is getattr(importlib.import_module(home), name)


def test_every_name_that_has_a_home_is_public_and_the_other_way_round():
    assert {*spa_bench._HOMES, "__version__"} == set(spa_bench.__all__) >= set(PROMISED)


def test_the_page_of_names_has_them_all():
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    table = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert {*re.findall(r"`(\w+)`", table), "__version__"} == set(spa_bench.__all__)
    assert set(re.findall(r"\w+", page.split("## Vocabulary")[1])) >= set(spa_bench.__all__) - {"__version__", "Floats"}


def test_what_is_unknown_is_an_error_in_the_usual_words():
    with pytest.raises(AttributeError, match=r"^module 'spa_bench' has no attribute 'Taks'$"):
        spa_bench.Taks  # noqa: B018
    with pytest.raises(ImportError, match=r"^cannot import name 'Taks' from 'spa_bench'"):
        from spa_bench import Taks  # noqa: F401


# Paths

WRITTEN = (
    "spa_bench.agents.chat.Chat",
    "spa_bench.agents.embedded.build_model",
    "spa_bench.agents.embedded.train_tokenizer",
    "spa_bench.agents.engines.weights.save_untied",
    "spa_bench.agents.prompts.PROMPTS",
    "spa_bench.agents.rationale.reason",
    "spa_bench.agents.transcript.Bookkeeper",
    "spa_bench.agents.transcript.Transcript",
    "spa_bench.audit.saved",
    "spa_bench.contract.check_reward",
    "spa_bench.core.Floats",
    "spa_bench.core.Message",
    "spa_bench.core.Step",
    "spa_bench.core.Task",
    "spa_bench.core.Trajectory",
    "spa_bench.core.UserError",
    "spa_bench.core.derive_seed",
    "spa_bench.environments.virtualhome.engine.World",
    "spa_bench.environments.virtualhome.together.Together",
    "spa_bench.files.write_whole",
    "spa_bench.interop.datasets.chat_dataset",
    "spa_bench.interop.datasets.write_jsonl",
    "spa_bench.interop.step_rewards.StepRewards",
    "spa_bench.interop.trl.Episodes",
    "spa_bench.interop.trl.StepGRPOTrainer",
    "spa_bench.interop.trl.environment_factory",
    "spa_bench.interop.trl.tool_dataset",
    "spa_bench.interop.trl.tool_reward",
    "spa_bench.interop.verifiers",
    "spa_bench.registry",
    "spa_bench.report.contents.gather",
    "spa_bench.report.grid.Grid",
    "spa_bench.report.grid.latex",
)
"""Every path that README, docs, cards or the files of `spa-bench new` ever named and that still leads somewhere."""
MOVED = {
    "spa_bench.core.Encoder": "spa_bench.method",
    "spa_bench.core.Level": "spa_bench.method",
    "spa_bench.core.MOST_REPLIES": "spa_bench.method",
    "spa_bench.core.RewardMethod": "spa_bench.method",
    "spa_bench.core.Simulator": "spa_bench.method",
    "spa_bench.contract.check_lesson": "spa_bench.contract",
}
"""Paths of earlier versions -> where to look now."""


def said(path: str) -> str:
    """What `from ... import ...` of this path raises; empty where it works."""
    module, _, name = path.rpartition(".")
    try:
        exec(f"from {module} import {name}", {})
    except ImportError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("path", WRITTEN)
def test_a_path_that_was_written_down_works(path: str):
    assert said(path) == ""


@pytest.mark.parametrize("path", MOVED)
def test_a_path_of_an_earlier_version_says_in_one_line_where_it_leads_now(path: str):
    name = path.rpartition(".")[2]
    line = said(path)
    assert name in line and "\n" not in line
    (advice,) = re.findall(r"from (\S+) import (\S+)$", line)
    assert advice[0] == MOVED[path]
    assert said(".".join(advice)) == ""


@pytest.mark.parametrize("module", ["spa_bench.core", "spa_bench.contract"])
def test_what_was_never_there_is_an_attribute_error(module: str):
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'Taks'"):
        importlib.import_module(module).Taks  # noqa: B018


def test_pages_name_only_paths_that_are_tested_here():
    """Read from the pages as they are now, so that a new path is tried too."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "rewards/README.md", ROOT / "results/README.md"]
    named = set()
    for page in pages:
        for module, names in re.findall(r"^from (spa_bench[a-z_.]*) import ([^#\n]+)", page.read_text("utf-8"), re.M):
            named |= {f"{module}.{name.strip()}" for name in names.split(",")}
    face = {f"spa_bench.{name}" for name in spa_bench.__all__}
    assert named - face <= set(WRITTEN)
