"""The audit from end to end: worlds, a tiny policy, all kinds of methods, and what theory says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SETTINGS
from typer.testing import CliRunner

from spa_bench import credit, registry
from spa_bench.audit import run as auditing
from spa_bench.audit import saved
from spa_bench.audit import stage as staging
from spa_bench.audit.columns import columns
from spa_bench.audit.effects import Effect
from spa_bench.audit.measures import progress_made
from spa_bench.audit.show import footer, to_json
from spa_bench.commands.cli import app
from spa_bench.config import RunConfig, build
from spa_bench.core import TextEnv, UserError
from spa_bench.environments.alfworld.env import ALFWorld
from spa_bench.method import RewardMethod
from spa_bench.method_errors import MethodError
from spa_bench.runs.journal import Journal
from spa_bench.runs.progress import Progress
from spa_bench.stats.ranks import spearman
from spa_bench.training import experiment, start
from spa_bench.training.checked_method import CheckedMethod

SIZE = staging.Size(tasks=5, samples=3, points=6, alternatives=2, probes=3, fits=2)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def config(reward: str, env: str = "alfworld", **options: Any) -> RunConfig:
    world = {
        "max_steps": 12,
        "options": {"products": 200, "valid": 6} if env == "webshop" else {"train": 24, "valid": 6},
    }
    more = {"world": world} if env == "alfworld" else {"world": world, "warm_start": {"episodes": 8, "epochs": 1}}
    return build({"env": env, "reward": reward, "reward_options": options} | SETTINGS | more)


def audited(*configs: RunConfig, recorded: Path | None = None) -> Any:
    return auditing.audit(configs, recorded, SIZE, Progress.quiet())


def shown(common: Any, agent: Any, size: staging.Size, progress: Progress) -> Any:
    """In place of the tiny policy, which gets nowhere: an expert that errs, in the policy's tokens."""
    expert = registry.build("agents", "expert", prompt=common.prompt, slip=0.4)
    tasks = common.train[: size.tasks]
    played = common.player.play(start.make_requests(common, "audit", 0, tasks, size.samples), expert)
    told = common.make_env().instructions
    return [start.in_tokens(agent, told, trajectory) for _, trajectory, _ in played]


@pytest.fixture(scope="module", autouse=True)
def able() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "fresh", shown)
        yield


@pytest.fixture(scope="module")
def found(able: Any) -> Any:
    torch.set_num_threads(1)
    names = ("potential", "rudder", "sparse", "random-split", "spa", "shuffled", "time-only", "all-on-last", "3spo")
    more = (
        config("spa", bonus="sum", alpha=0.0),
        config("3spo-lite", explored=False),
        config("3spo-lite", key="anchor"),
        config("gigpo", key="state"),
        config("monte-carlo", samples=1),
    )
    return audited(*map(config, names), *more)


def method(found: Any, name: str) -> Any:
    (one,) = [m for m in found.methods if m.name == name]
    return one


def test_what_conserves_the_return_does_so_on_every_episode(found: Any) -> None:
    for name in ("potential", "rudder", "sparse", "random-split"):
        assert method(found, name).gap.largest == pytest.approx(0, abs=1e-6)
        assert method(found, name).probes["cut"] == pytest.approx(0, abs=1e-6)
    assert method(found, "spa (alpha=0, bonus=sum)").gap.mean > 1


def test_bonuses_break_the_order_and_pay_for_walking_in_circles_and_a_potential_does_not(found: Any) -> None:
    busy, loop = "busy %", "loop"
    assert method(found, "potential").probes[busy] == 0
    assert method(found, "potential").probes[loop] == pytest.approx(0, abs=1e-9)
    # A loop of two executed steps earns two bonuses of a half, a no-op where there is no loop earns one.
    assert method(found, "spa (alpha=0, bonus=sum)").probes[loop] in (pytest.approx(0.5), pytest.approx(1.0))
    assert method(found, "spa (alpha=0, bonus=sum)").probes[busy] > 50
    assert method(found, "3spo-lite (explored=False)").probes[busy] > 50


class Unzeroed(RewardMethod):
    """Progress as a potential that is not taken back where the step limit ends an episode."""

    def rewards(self, group: Any) -> Any:
        return [np.diff([t.start_progress, *(step.progress for step in t.steps)]) for t in group]


def test_a_potential_that_is_not_zero_at_the_step_limit_is_seen_by_the_cut(able: Any) -> None:
    one = audited(config(f"{__file__}:Unzeroed"), config("potential"))
    assert abs(method(one, "test_run.Unzeroed").probes["cut"]) > 0.1
    assert method(one, "potential").probes["cut"] == pytest.approx(0, abs=1e-9)


def test_what_keys_mix_is_measured_with_every_audit(found: Any) -> None:
    """On episodes that were played without the record of states, for methods that need it and for those that do not."""
    by = {key: own["all"] for key, own in found.aliasing.items()}
    assert by["state"].mixed.value == 0 == by["state"].pairs.value
    assert by["state"].oracle.pure == pytest.approx(0, abs=1e-12)
    assert by["observation"].mixed.value > by["history-2"].mixed.value >= 0
    assert by["observation"].singletons.value < by["history-2"].singletons.value
    assert by["observation"].oracle.mixed > 0
    assert all(step.state and step.menu for one in found.episodes for step in one.steps)


class Silent(ALFWorld):
    """A world that does not say its state."""

    def true_state(self) -> object:
        return TextEnv.true_state(self)


def test_a_world_without_states_is_audited_without_aliasing(able: Any) -> None:
    world = f"{__file__}:Silent"
    one = audited(config("sparse", world))
    assert one.aliasing == {}
    assert "state aliasing is not measured: environment alfworld does not say what its state is" in "".join(one.notes)
    with pytest.raises(UserError, match="does not say what its state is"):
        audited(config("gigpo", world, key="state"))


def test_placebos_and_floors_are_known_by_what_they_say_of_themselves(found: Any) -> None:
    assert {m.name for m in found.methods if m.placebo} == {"random-split", "shuffled", "time-only", "all-on-last"}
    assert sorted(found.floor) == ["all-on-last", "time-only"]
    assert {margin.placebo for margin in method(found, "spa").margins} == {
        "random-split", "shuffled", "time-only", "all-on-last"
    }  # fmt: skip
    # Not 1: a failure gives back on its last step what it had gained.
    assert 0.8 < method(found, "potential").agreement.kendall.value < 1
    assert method(found, "all-on-last").last_turn_share.value == pytest.approx(1.0)


def test_what_a_method_spends_alone_is_counted(found: Any) -> None:
    steps, tokens = "extra steps", "extra tokens"
    assert method(found, "sparse").costs == {steps: 0.0, tokens: 0.0}
    assert method(found, "spa").costs[steps] == 0 and method(found, "spa").costs[tokens] > 1000
    none = staging.Size(tasks=2, samples=2, points=0, alternatives=1, probes=0)
    alone = auditing.audit([config("monte-carlo", samples=1)], None, none, Progress.quiet())
    assert method(alone, "monte-carlo (samples=1)").costs[steps] > 0
    assert method(alone, "monte-carlo (samples=1)").effects is None
    assert method(alone, "monte-carlo (samples=1)").probes == {"loop": None, "busy %": None, "cut": None}


def test_effects_of_a_policy_that_never_succeeds_fail_the_power_check_and_are_withheld(found: Any) -> None:
    assert found.power.points == SIZE.points and not found.power.passed
    assert {m.effects for m in found.methods} == {None}
    assert not [one.header for one in columns(found) if one.header.startswith("effect")]
    assert [line.split(":")[0] for line in footer(found)[2:4]] == ["power check", "withheld"]


def test_effects_that_the_oracle_scores_on_are_shown_for_all_methods_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    def executed(simulator: Any, trajectories: Any, points: Any, samples: int, seed: int) -> list[Effect]:
        assert samples == SIZE.alternatives
        return [Effect(i, turn, float(progress_made(trajectories[i])[turn]), 1) for i, turn in points]

    monkeypatch.setattr(staging.effects, "effects", executed)
    size = replace(SIZE, points=80)
    configs = [config(name) for name in ("potential", "spa", "random-split")]
    one = auditing.audit(configs, None, size, Progress.quiet())
    assert one.power.passed and one.power.oracle.value == pytest.approx(1)
    assert {m.effects.points for m in one.methods} == {one.power.points} == {80}
    assert [one.header for one in columns(one) if one.header.startswith("effect")] == [
        "effect correlation", "effect margin over best placebo"
    ]  # fmt: skip
    assert method(one, "potential").effects.spearman.value > 0.8
    assert "withheld" not in " ".join(footer(one))


def test_a_method_that_learns_is_fitted_several_times_on_different_episodes(found: Any) -> None:
    fits = {m.name: m.fits for m in found.methods}
    learn = {"rudder", "spa", "shuffled", "time-only", "all-on-last", "3spo", "spa (alpha=0, bonus=sum)"}
    learn |= {"3spo-lite (explored=False)", "3spo-lite (key=anchor)"}
    assert {name for name, count in fits.items() if count} == learn and {fits[name] for name in learn} == {SIZE.fits}
    assert fits["monte-carlo (samples=1)"] == fits["potential"] == fits["random-split"] == 0


class Noisy(RewardMethod):
    """Says that it learns, and assigns what its seed gives."""

    def fit(self, trajectories: Any, experts: Any) -> dict[str, float]:
        return {}

    def rewards(self, group: Any) -> Any:
        rng = np.random.default_rng(self.seed)
        return [rng.normal(size=len(t)) for t in group]


def test_each_fit_has_episodes_and_a_seed_of_its_own_and_figures_are_means_over_fits(
    able: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Watched(CheckedMethod):
        def fit(self, trajectories: Any, experts: Any) -> dict[str, float]:
            seen.append((self.method.seed, list(trajectories)))
            return super().fit(trajectories, experts)

    monkeypatch.setattr(auditing, "CheckedMethod", Watched)
    told = config(f"{__file__}:Noisy")
    none = replace(SIZE, points=0, probes=0)
    alone, both = (auditing.audit([told], None, replace(none, fits=n), Progress.quiet()) for n in (1, 2))
    (first, explored), (again, same), (second, others) = seen
    assert (first, explored) == (again, same), "the first fit is that of a run"
    assert first != second and explored != others
    assert [t.task for t in explored] == [t.task for t in others]
    assert alone.prices == both.prices
    values = []
    for seed in (first, second):
        method_ = registry.build("rewards", told.reward)
        method_.seed = seed
        rewards: list[Any] = [None] * len(alone.episodes)
        for indices in credit.groups(alone.episodes):
            for i, paid in zip(indices, method_.rewards([alone.episodes[i] for i in indices]), strict=True):
                rewards[i] = paid
        ranks = [spearman(paid, progress_made(t)) for paid, t in zip(rewards, alone.episodes, strict=True)]
        values.append(np.tanh(np.nanmean(np.arctanh(np.clip(ranks, -0.99, 0.99)))))
    assert alone.methods[0].agreement.spearman.value == pytest.approx(values[0])
    assert both.methods[0].agreement.spearman.value == pytest.approx(np.mean(values))
    assert (alone.methods[0].fits, both.methods[0].fits) == (1, 2)


def test_probes_of_several_fits_are_the_farthest_from_zero_and_a_share_is_their_mean() -> None:
    first = {"loop": 0.2, "busy %": 100.0, "cut": None}
    second = {"loop": -0.3, "busy %": 50.0, "cut": 0.1}
    assert auditing._over_fits([first, second]) == {"loop": -0.3, "busy %": 75.0, "cut": 0.1}
    assert auditing._over_fits([first]) == first


def test_no_other_episodes_are_explored_where_nothing_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_explored", lambda *_: pytest.fail("explored again"))
    assert audited(config("potential")).about["fits"] == 1


def test_the_same_seed_gives_the_same_audit_and_others_in_it_change_nothing(found: Any) -> None:
    again = to_json(audited(config("time-only"), config("spa")))
    names = ["spa", "time-only"]
    for one in again["methods"]:
        (before,) = [m for m in to_json(found)["methods"] if m["name"] == one["name"]]
        for it in (one, before):  # margins are over the placebos that are there
            it["margins"] = it["margins_by_outcome"] = 0
        assert one == before
    assert [one["name"] for one in again["methods"]] == names
    assert again["about"] == to_json(found)["about"]


def test_it_is_written_as_numbers_and_with_all_prices(found: Any, tmp_path: Path) -> None:
    folder = saved.save(found, tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == [
        "audit.json", "episodes.jsonl", "prices.jsonl"
    ]  # fmt: skip
    stored = json.loads((folder / "audit.json").read_text(), parse_constant=lambda c: pytest.fail(c))
    assert stored == to_json(found)
    first = (folder / "audit.json").read_bytes()
    assert saved.save(found, tmp_path) == folder and (folder / "audit.json").read_bytes() == first
    assert saved.find([tmp_path]) == [folder.resolve()]
    assert saved.load(folder) == replace(found, methods=tuple(sorted(found.methods, key=lambda one: one.name)))
    episodes, prices = saved.episodes(folder), saved.prices(folder)
    bare = [replace(one, steps=tuple(replace(step, tokens=None) for step in one.steps)) for one in found.episodes]
    assert episodes == bare and len(episodes) == found.about["trajectories"]
    assert set(prices) == {m.name for m in found.methods}
    for one, own, potential in zip(episodes, prices["sparse"], prices["potential"], strict=True):
        assert own.tolist() == [0.0] * (len(one) - 1) + [one.outcome]
        assert potential.sum() == pytest.approx(one.outcome)


@pytest.mark.parametrize("env", ["webshop", "virtualhome"])
def test_every_world_can_be_audited(env: str) -> None:
    one = audited(config("potential", env), config("spa", env))
    assert method(one, "potential").gap.largest == pytest.approx(0, abs=1e-6)
    assert method(one, "potential").probes["loop"] == pytest.approx(0, abs=1e-9)
    assert one.about["world"] == env


def test_a_run_can_be_audited_with_its_own_episodes_and_policy(tmp_path: Path) -> None:
    settings = config("spa")
    path = experiment.run(settings, tmp_path, Progress.quiet())
    one = audited(config("potential"), recorded=path)
    rows = [row for row in Journal(path / "episodes.jsonl").read()[0] if row["stage"] == "train"]
    assert one.about["trajectories"] == len({r["index"] for r in rows if r["iteration"] == 2})
    assert one.about["steps"] == sum(len(r["steps"]) for r in rows if r["iteration"] == 2)
    with pytest.raises(UserError, match="has no checkpoint"):
        audited(config("potential"), recorded=tmp_path)
    (path / "episodes.jsonl").write_text("")
    with pytest.raises(UserError, match="no episodes of training"):
        audited(config("potential"), recorded=path)


class Breaks(RewardMethod):
    def rewards(self, group: Any) -> Any:
        return [np.full(len(t), np.nan) for t in group]


def test_a_method_that_goes_wrong_is_named() -> None:
    with pytest.raises(MethodError, match=r"reward test_run\.py:Breaks: rewards gave nan for step 1 \(task .*audit\)"):
        audited(config(f"{__file__}:Breaks"))


def test_several_characters_are_refused() -> None:
    options = {"train": 24, "valid": 6, "characters": 2}
    two = build({"env": "virtualhome", "reward": "sparse"} | SETTINGS | {"world": {"options": options}})
    with pytest.raises(UserError, match="characters=1"):
        audited(two)


def test_the_command_prints_one_table_and_says_where_the_rest_is(tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    from spa_bench.commands.options import to_toml

    values = config("sparse").model_dump(mode="json")
    file.write_text(to_toml({k: v for k, v in values.items() if k not in ("reward", "reward_options", "env")}))
    words = [
        "audit",
        "--env",
        "alfworld",
        "--reward",
        "potential,spa:bonus=sum",
        "--config",
        str(file),
        "--groups",
        "3",
    ]
    words += ["--samples", "2", "--points", "2", "--alternatives", "1", "--probes", "1", "--results", str(tmp_path)]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "spa (bonus=sum)" in shown.stdout and "potential" in shown.stdout
    assert "floor: time-only reaches" in shown.stdout, "the placebos are there, though nobody has named them"
    (folder,) = (tmp_path / "audits" / "alfworld").iterdir()
    assert str(folder) in shown.stderr.replace("\n", "")
    plain = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert plain == json.loads((folder / "audit.json").read_text())
