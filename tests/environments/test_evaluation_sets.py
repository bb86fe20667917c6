"""The evaluation sets of built-in tasks that can decide: `quick`, `study` and `full`."""

from __future__ import annotations

from pathlib import Path

import pytest

from spa_bench import registry
from spa_bench.commands.evaluate import settings_for
from spa_bench.commands.options import Flags
from spa_bench.config import RunConfig
from spa_bench.core import UserError
from spa_bench.environments.webshop import generate
from spa_bench.identity import decisive
from spa_bench.runs.folder import RunFolder, run_path
from spa_bench.training.tasks import evaluation_set

SHOP = {"products": 60, "valid": 100, "held_out": "products"}


def settings(world: str, name: str | None, *assignments: str, tasks: str | None = None) -> RunConfig:
    return Flags(env=world, evaluation=name, assignments=assignments, tasks=tasks).config(reward="sparse")


@pytest.mark.parametrize("world", registry.built_in("environments"))
def test_a_name_stands_for_settings_that_decide_the_result_in_its_place(world: str) -> None:
    study, full, quick = (settings(world, name) for name in ("study", "full", "quick"))
    assert study.world.options["valid"] == full.world.options["valid"] == 2500
    assert (study.eval.tasks, full.eval.tasks, quick.eval.tasks) == (500, None, None)
    assert decisive(quick) == decisive(settings(world, None)), "what there was before keeps its identity"
    spelt = [f"world.options.{key}={value}" for key, value in study.world.options.items()]
    assert decisive(settings(world, None, *spelt, "eval.tasks=500")) == decisive(study)


def test_what_the_user_sets_wins_and_other_options_stay() -> None:
    config = settings("alfworld", "study", "world.options.difficulty=hard", "eval.tasks=20")
    assert config.world.options == {"valid": 2500, "difficulty": "hard"} and config.eval.tasks == 20
    assert settings("alfworld", None, "eval.set=full").world.options == {"valid": 2500}


def test_official_tasks_and_worlds_without_such_sets_are_told() -> None:
    with pytest.raises(UserError, match=r"eval.set=study is of built-in tasks: with others eval.tasks says how many"):
        settings("alfworld", "study", tasks="official")
    blocks = Path(__file__).parents[2] / "examples" / "blocks"
    world = f"{next(blocks.rglob('blocks.py'))}:Blocks"
    with pytest.raises(UserError, match=r"has no evaluation set 'full': leave eval.set out, and give eval.tasks"):
        settings(world, "full")
    with pytest.raises(UserError, match=r"setting eval.set: input should be"):
        settings("alfworld", "huge")


def test_the_first_tasks_of_a_larger_set_are_those_of_a_smaller_one_in_alfworld() -> None:
    """Train tasks too, so that both have the same warm start; 12 of 30 is what 100 of 2,500 would be."""
    few, many = (registry.build("environments", "alfworld", train=40, valid=valid) for valid in (12, 30))
    assert few.tasks("train") == many.tasks("train")
    assert set(few.tasks("valid_unseen")) < set(many.tasks("valid_unseen")) and len(many.tasks("valid_unseen")) == 30
    config = settings("alfworld", None, "eval.tasks=5")
    assert evaluation_set(config, many) == evaluation_set(settings("alfworld", None), many)[:5]


def test_a_shop_keeps_the_goals_of_a_product_together() -> None:
    shop = registry.build("environments", "webshop", **SHOP)
    products = {
        split: {shop.assortment.goals[task.key].asin for task in shop.tasks(split)}
        for split in ("train", "valid_seen", "valid_unseen")
    }
    assert len(shop.tasks("valid_unseen")) == 100 and len(products["valid_unseen"]) == 20
    assert len(products["train"]) == len(products["valid_seen"]) == 20
    assert not products["train"] & products["valid_unseen"] and not products["train"] & products["valid_seen"]
    one_by_one = registry.build("environments", "webshop", **SHOP | {"held_out": "goals"})
    asked = {one_by_one.assortment.goals[task.key].asin for task in one_by_one.tasks("valid_unseen")}
    assert len(asked) > 40, "nearly every product has a goal that is held out"
    assert shop.content != one_by_one.content


def test_a_set_that_is_not_the_one_on_record_is_refused(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(generate, "FROZEN", {8: "0" * 64})
    with pytest.raises(UserError, match=r"human_ins.json of the built-in tasks has sha256 \w{16} here, and 0{16} on"):
        generate.ensure(products=8)
    assert not list(tmp_path.rglob(generate.HUMAN))
    assert (generate.ensure(products=9) / generate.HUMAN).is_file(), "of others none is on record"


def test_a_checkpoint_is_evaluated_on_the_set_that_is_named(tmp_path: Path) -> None:
    """Whatever set its run had; other options of the world stay."""

    def trained(name: str | None, *assignments: str) -> Path:
        config = settings("webshop", name, *assignments)
        with RunFolder.open(path := run_path(tmp_path, config), config, {"panel": "a1b2c3"}):
            return path

    def evaluated(path: Path, name: str) -> RunConfig:
        return settings_for(Flags(evaluation=name), None, path, None)[0]

    quick = trained(None, "world.options.difficulty=hard")
    larger = settings("webshop", "study").world.options
    assert evaluated(quick, "study").world.options == {"difficulty": "hard", **larger}
    assert evaluated(quick, "study").eval.tasks == 500 and evaluated(quick, "full").eval.tasks is None
    again = evaluated(trained("study", "world.options.difficulty=hard"), "quick")
    assert again.world.options == {"difficulty": "hard"} and again.eval.tasks is None
