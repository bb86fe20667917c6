"""Every built-in method, in every environment, from tasks to an evaluated policy: small, but nothing is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny import SETTINGS

from spa_bench import registry
from spa_bench.audit.run import _notes as audit_notes
from spa_bench.config import build
from spa_bench.report.table import tables
from spa_bench.rewards.__main__ import card
from spa_bench.rewards._forms import listed
from spa_bench.runs.folder import read_run
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.training import experiment

OPTIONS = {
    "alfworld": {"train": 24, "valid": 6},
    "virtualhome": {"train": 24, "valid": 6},
    "webshop": {"products": 200, "valid": 6},
}


@pytest.fixture(scope="module", autouse=True)
def one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The start is made once for each world: it depends on no method."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPA_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("env", sorted(OPTIONS))
def test_every_method_trains_from_the_same_start_with_the_same_training_budget(env: str, tmp_path: Path) -> None:
    for reward in registry.names("rewards"):
        world = {"max_steps": 6, "options": OPTIONS[env]}
        ppo = SETTINGS["ppo"] | {"iterations": 1, "env_steps": 40, "trees": 3}
        settings = build({"env": env, "reward": reward} | SETTINGS | {"world": world, "ppo": ppo})
        path = experiment.run(settings, tmp_path, Progress.quiet())
        rows, torn = Journal(path / "metrics.jsonl").read()
        (iteration,) = [row for row in rows if row["kind"] == "iteration"]
        assert torn == 0 and rows[-1]["kind"] == "done"
        assert (iteration["env_steps_budget"], iteration["updates"]) == (40, 2), reward
        assert (path / "checkpoints/0001/method.safetensors").exists()
    (table,) = tables([tmp_path])
    assert [row.label for row in table.rows] == ["warm start", *registry.names("rewards")]
    told = {note.split(" uses ")[0] for note in table.notes if " uses " in note}
    assert told == {name for name in registry.names("rewards") if tells(name)}
    ours = [label for note in table.notes if ": our form: " in note for label in note.split(":")[0].split(", ")]
    assert sorted(ours) == sorted(set(registry.names("rewards")) - AS_PUBLISHED.keys())
    assert not [note for note in table.notes if "unequal" in note]


def tells(name: str) -> bool:
    cls = registry.find("rewards", name)
    return cls.uses_experts or cls.uses_oracle


AS_PUBLISHED = {
    **dict.fromkeys(
        ("g2po", "gigpo", "graphgpo", "grpo", "hgpo"), "the paper's advantages; what is left over is edge cases"
    ),
    "potential": "a shaping by a potential, as in the theorem",
    "ppo": "the field's baseline",
    "spa-published": "the paper's formula",
    "sparse": "the task's own reward",
    **dict.fromkeys(("all-on-last", "random-split", "shuffled", "time-only"), "a placebo, of no paper"),
}
"""Methods whose reward and advantage are those of their paper, and why; every other one must say what is not."""


@pytest.mark.parametrize("name", registry.names("rewards"))
def test_a_method_says_where_it_is_not_its_papers_and_its_card_begins_with_it(name: str) -> None:
    form = registry.find("rewards", name).our_form
    file = Path(__file__).resolve().parents[2] / "rewards" / f"{name.replace('-', '_')}.py"
    deviations = card(file)["Deviations"]
    assert bool(form) != (name in AS_PUBLISHED)
    assert deviations.startswith(f"{form or 'none'}")
    assert deviations[len(form or "none")] in ".," or deviations.startswith("none of the formula")
    assert "\n" not in form and ". " not in form


def test_spa_points_to_the_papers_formula() -> None:
    assert registry.find("rewards", "spa").our_form.endswith("the paper's is spa-published")


CORRECTED, SHARE, FROZEN = "add up to the outcome", "change of the grounded share", "stays frozen"
EPOCH, LEVEL = "held-out tasks choose the epoch", "by default per turn, with the KL penalty in the loss"


@pytest.mark.parametrize(
    ("name", "options", "said", "unsaid"),
    [
        ("spa", {"beta": 0.0}, [CORRECTED, SHARE, FROZEN, EPOCH, LEVEL], []),
        ("spa", {"bonus": "sum"}, [CORRECTED, FROZEN, EPOCH, LEVEL], [SHARE]),
        ("spa", {"exact": False}, [SHARE, FROZEN, EPOCH, LEVEL], [CORRECTED]),
        ("spa", {"bonus": "sum", "exact": False}, [FROZEN, EPOCH, LEVEL], [CORRECTED, SHARE]),
        ("spa", {"bonus": "sum", "exact": False, "backbone": "tuned"}, [EPOCH, LEVEL], [CORRECTED, SHARE, FROZEN]),
        ("spa-published", {"backbone": "frozen"}, [FROZEN], [EPOCH]),
        ("monte-carlo", {"samples": 9}, ["one state inside an episode is measured"], []),
        ("monte-carlo", {"states": 3}, ["3 states inside an episode are measured"], ["one state"]),
        ("stepagent-implicit", {"beta": 1.0}, ["a network on hidden states", "a term of our own"], []),
        ("stepagent-implicit", {"centre": 0.0}, ["a network on hidden states"], ["a term of our own"]),
        ("stepagent-inverse", {"form": "gail"}, [": -log(1 - D) is our choice"], ["log D"]),
        ("stepagent-inverse", {"form": "log"}, [": log D is our choice"], ["1 - D"]),
        ("3spo", {"key": "released"}, ["explored episodes", "portions of steps"], ["for each task apart"]),
        ("3spo", {"key": "history", "explored": False}, ["all that came before", "portions"], ["explored", "apart"]),
        ("3spo-lite", {"novelty": "released"}, ["GAE", "for each task apart", "another text", "explored"], []),
        ("3spo-lite", {"key": "released", "explored": False}, ["one state"], ["apart", "explored", ";"]),
        ("rrd", {"exact": True}, ["learned once", "add up to the outcome"], []),
        ("spa-released", {"position": False}, ["tokens of observations", "without the factor of the turn"], []),
        ("grpo", {"normalise": False}, ["Dr. GRPO"], []),
        ("gigpo", {"history": 2}, ["past turns"], []),
    ],
)
def test_the_line_is_of_the_options_that_were_given(name: str, options: dict, said: list, unsaid: list) -> None:
    form = registry.build("rewards", name, **options).our_form
    assert form and not [part for part in said if part not in form] and not [part for part in unsaid if part in form]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("monte-carlo", {"states": 0}),
        ("gigpo", {"normalise": False}),
        *((placebo, {"bonus": "sum"}) for placebo in ("shuffled", "all-on-last", "time-only")),
    ],
)
def test_options_with_which_a_method_is_its_papers_have_no_line(name: str, options: dict) -> None:
    assert registry.build("rewards", name, **options).our_form == ""


@pytest.mark.parametrize("name", registry.names("rewards"))
def test_the_line_of_the_default_options_is_that_of_the_class(name: str) -> None:
    assert registry.build("rewards", name).our_form == registry.find("rewards", name).our_form


KL_IN_PAPERS_REWARD = ("ppo", "rloo", "spa", "spa-published", "spa-released")
"""Methods whose papers have the KL penalty in the reward."""


@pytest.mark.parametrize("name", registry.names("rewards"))
def test_the_place_of_the_kl_penalty_is_told_where_it_is_not_the_papers(name: str) -> None:
    method = registry.find("rewards", name)
    assert ("KL" in method.our_form) == (name in KL_IN_PAPERS_REWARD and not method.kl_in_reward)


@pytest.mark.parametrize("name", ["spa", "monte-carlo", "stepagent-inverse", "3spo-lite"])
def test_a_method_derived_from_another_keeps_its_own_line(name: str) -> None:
    own = type("Own", (registry.find("rewards", name),), {"our_form": "mine"})
    assert own().our_form == "mine"


def test_a_run_and_an_audit_say_the_line_of_their_options(tmp_path: Path) -> None:
    ppo = SETTINGS["ppo"] | {"iterations": 0}
    world = {"max_steps": 6, "options": OPTIONS["alfworld"]}
    reward = {"reward": "monte-carlo", "reward_options": {"states": 0}}
    path = experiment.run(
        build({"env": "alfworld"} | reward | SETTINGS | {"world": world, "ppo": ppo}), tmp_path, Progress.quiet()
    )
    assert read_run(path)["facts"]["our_form"] is None
    other = registry.build("rewards", "monte-carlo", states=2)
    assert audit_notes({"monte-carlo (states=2)": other}) == (f"monte-carlo (states=2): our form: {other.our_form}",)


@pytest.mark.parametrize(
    ("parts", "text"),
    [([], ""), (["a"], "a"), (["a", "", "b"], "a and b"), (["a", "b", "c"], "a, b, and c")],
)
def test_how_parts_become_a_line(parts: list, text: str) -> None:
    assert listed(parts) == text
