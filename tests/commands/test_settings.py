"""The reference of settings is the configuration's own, and its page is current; lists name everything in one line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from invoked import invoke
from written_runs import write_run

from spa_bench import registry
from spa_bench.commands import listing, recipes, settings
from spa_bench.commands.listing import What
from spa_bench.config import known_keys
from spa_bench.core import UserError
from spa_bench.defaults import LORA, OTHER_MODELS, SOURCES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(section: str | None = None) -> str:
    settings.show(stream := io.StringIO(), section)
    return stream.getvalue()


def listed(what: What, name: str | None = None) -> list[list[str]]:
    """Cells of the rows."""
    listing.show(what, name, stream := io.StringIO())
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_the_page_is_current():
    if PAGE.read_text(encoding="utf-8") != printed():
        pytest.fail("docs/settings.md is not what is printed now: spa-bench settings > docs/settings.md")


def test_every_setting_is_in_the_reference_with_its_meaning():
    rows = [line.strip("| ").split(" | ") for line in printed().splitlines() if line.startswith("| `")]
    assert [row[0].strip("`") for row in rows] == [
        *(key.removesuffix(".*") for key in known_keys() if "." not in key.removesuffix(".*")),
        *(key for key in known_keys() if "." in key.removesuffix(".*")),
    ]
    for row in rows:
        assert len(row[3]) > 3, row
    assert SOURCES.keys() <= set(known_keys())


def test_defaults_of_models_and_worlds_stand_beside_the_common_one():
    text = printed("ppo")
    own = registry.find("environments", "webshop").settings["ppo"]["learning_rate"]
    others = OTHER_MODELS["ppo"]["learning_rate"], LORA["ppo"]["learning_rate"], own
    assert "`0.0005`; other models: `{}`; with LoRA: `{}`; webshop: `{}`".format(*others) in text
    assert "| a number above 0 | peak rate of AdamW | ours; other models: StepTool" in text
    assert "warm_start" not in text


def test_an_unknown_section_is_one_line_and_a_terminal_gets_no_markdown():
    with pytest.raises(UserError, match=r"^no section 'pp' of settings: did you mean ppo\?"):
        printed("pp")
    settings.show(screen := Screen(), "explore")
    assert "explore.tasks" in screen.getvalue() and "| ---" not in screen.getvalue()


@pytest.mark.parametrize("what", [What.rewards, What.worlds, What.agents])
def test_every_plug_in_has_one_line(what: What):
    rows = listed(what)
    assert [row[0] for row in rows] == registry.names(listing.ROOMS[what])
    assert all(len(row[1]) > 20 for row in rows)


def test_the_options_of_one_are_listed_with_range_default_and_meaning(tmp_path: Path):
    found = {row[0]: row[1:] for row in listed(What.rewards, "spa")}
    assert found["alpha"] == ["`1.0`", "a number, 0 or above", "weight of the learned contributions; SPA: 1"]
    assert listed(What.rewards, "sparse") == [["no options", "", "", ""]]
    assert [row[0] for row in listed(What.agents, "expert")] == ["slip", "lists"]
    assert ["difficulty", "`default`", "default or hard"] in [row[:3] for row in listed(What.worlds, "alfworld")]
    code = "from spa_bench.rewards.sparse import Sparse\n\n\nclass Mine(Sparse):\n"
    (tmp_path / "mine.py").write_text(code + "    def __init__(self, *, size: int, other=3): ...\n")
    assert listed(What.rewards, f"{tmp_path}/mine.py:Mine") == [
        ["size", "to be given", "a whole number", ""], ["other", "`3`", "", ""]
    ]  # fmt: skip


def test_recipes_and_runs_have_one_line_each(tmp_path: Path):
    assert [row[0] for row in listed(What.recipes)] == [f"recipe:{name}" for name in recipes.names()]
    assert all(all(row) for row in listed(What.recipes))
    write_run(tmp_path, "spa", seed=3)
    write_run(tmp_path, "ppo", metrics=[])
    (write_run(tmp_path, "rloo") / "run.json").write_text("{")
    rows = listed(What.runs, str(tmp_path))
    assert [row[1:] for row in rows if row[1]] == [
        ["alfworld", "ppo", "0", "unfinished"], ["alfworld", "spa", "3", "finished"]
    ]  # fmt: skip
    assert [row[4][:12] for row in rows if not row[1]] == ["unreadable: "]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "rewards", "spo"], "no reward 'spo': did you mean 3spo?"),
        (["list", "recipes", "smollm2"], "no recipe 'smollm2'"),
        (["list", "runs", "nowhere"], "no run folder in nowhere"),
        (["settings", "lora"], "no section 'lora' of settings"),
    ],
)
def test_what_is_not_there_is_one_line(words: list[str], message: str):
    found = invoke(*words)
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1) and message in found.stderr


def test_the_help_of_run_names_worlds_and_methods():
    text = " ".join(invoke("run", "--help", env={"COLUMNS": "200", "TERM": "dumb"}).stdout.split())
    for name in (*registry.built_in("environments"), *registry.built_in("rewards")):
        assert name in text
