"""The contract tests of worlds: `check_world` raises AssertionError with the name of the test that fails.

Public, so that a world of one's own is tested with one line:

    check_world(MyWorld)

A few tasks of each split are played, by the expert, at random and with texts that nobody should send. What the world
itself raises becomes a WorldError that names it. `spa-bench check --env` runs the same tests one by one.
"""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from spa_bench.contract.fakes import HOSTILE
from spa_bench.contract.laws import ContractError, chance, hold
from spa_bench.contract.tried_worlds import SPLITS, Seen, Tried, WorldTrial
from spa_bench.core import Task, TextEnv, UserError
from spa_bench.rollout.states import digest, says_state
from spa_bench.rollout.worlds import world_call
from spa_bench.watch import watching

NONSENSE = ("", "qwzx vjkq")
"""What is no command of any world."""
LIMITS = {"reset": 300.0, "step": 60.0}
"""Seconds that a call may last."""
TEXTS = (*HOSTILE, "a" * 100_000, "\n" * 50)


@dataclass(frozen=True)
class WorldTest:
    """One property of every world; `run` raises ContractError where it does not hold."""

    name: str
    """A sentence of what holds."""
    run: Callable[[WorldTrial], None]


def _gymnasium(trial: WorldTrial) -> None:
    world = trial.fresh()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with world_call(world.env.name, "check_env", code=type(world.env)):
            check_env(world.env, skip_render_check=True)


def _says(trial: WorldTrial) -> None:
    world = trial.fresh()
    env = world.env
    for what in ("name", "instructions", "protocol", "outcome"):
        hold(f"{what} is a text", isinstance(getattr(env, what, None), str) and getattr(env, what) != "")
    limits = getattr(env, "buckets", None)
    sorted_pair = isinstance(limits, tuple) and len(limits) == 2 and 0 < limits[0] < limits[1]
    hold("buckets are two rising numbers", sorted_pair, str(limits))
    steps = getattr(env, "max_steps", None)
    hold("max_steps is 1 or more", isinstance(steps, int) and steps >= 1, str(steps))
    texts = world.call("text_sources")
    good = isinstance(texts, Sequence) and len(texts) > 0 and all(isinstance(text, str) for text in texts)
    hold("text_sources gives texts", good)


def _tasks(trial: WorldTrial) -> None:
    world, met = trial.fresh(), set[str]()
    for split in SPLITS:
        tasks = world.call("tasks", split)
        keys = [task.key for task in tasks]
        hold(f"{split} has tasks", len(keys) > 0)
        hold("the tasks of a split are sorted by key", keys == sorted(keys), split)
        hold("a key is in one split, once", len(set(keys)) == len(keys) and not met & set(keys), split)
        hold(
            "a task names its world and its split",
            {(t.env, t.split) for t in tasks} == {(world.env.name, split)},
            split,
        )
        hold("expert_steps is 1 or more", min(task.expert_steps for task in tasks) >= 1, split)
        hold("another instance has the same tasks", trial.fresh().call("tasks", split) == tasks, split)
        met |= set(keys)
    _refused("an unknown split is refused", partial(world.call, "tasks", "no such split"))


def _reset(trial: WorldTrial) -> None:
    world = trial.fresh()
    for task in trial.tasks:
        (first,) = world.begin(task)
        hold("reset begins the task that is asked for", first.info["task"] == task, task.key)
        (again,) = trial.fresh().begin(task, seed=7)
        hold("a task begins alike with every seed", first.told == again.told, task.key)
    for split, asked in (("train", {}), *((split, {"split": split}) for split in SPLITS)):
        drawn = world.call("reset", seed=3, options=asked)[1]["task"]
        hold("without a task one of the split is drawn, of train unless named", drawn.split == split, str(asked))
    for wrong in ({"task": "no such task"}, {"split": "no such split"}, {"no such option": 1}):
        _refused(f"reset refuses {wrong}", partial(world.call, "reset", options=wrong))


def _refused(test: str, call: Callable[[], object]) -> None:
    """A UserError is wanted that the world has written itself."""
    try:
        call()
    except UserError as error:
        hold(test, error.__cause__ is None or isinstance(error.__cause__, UserError), f"with a UserError; {error}")
    else:
        raise ContractError(test, "with a UserError; nothing was raised")


TYPES: dict[str, type | tuple[type, ...]] = {
    "task": Task, "goal": str, "grounded": bool, "fault": (str, type(None)), "success": bool,
    "progress": (float, int, np.floating),
}  # fmt: skip


def _types(trial: WorldTrial) -> None:
    for task, actions in trial.walks:
        for seen in [*trial.fresh().begin(task, actions), *trial.fresh().begin(task, NONSENSE[:1])]:
            hold("an observation is a text", isinstance(seen.observation, str), type(seen.observation).__name__)
            ends = isinstance(seen.terminated, bool) and isinstance(seen.truncated, bool)
            hold("terminated and truncated are bools", ends)
            for key, kind in TYPES.items():
                found = seen.info[key]
                hold(f"info[{key!r}] has the right type", isinstance(found, kind), f"not {type(found).__name__}")
            listed = seen.info["admissible"]
            hold("info['admissible'] is a sequence", isinstance(listed, Sequence) and not isinstance(listed, str))
            texts = all(isinstance(text, str) for text in listed)
            hold("info['admissible'] is sorted texts", texts and list(listed) == sorted(listed))


def _grounding(trial: WorldTrial) -> None:
    for task, way, here in trial.places():
        hold(
            "a beginning and a possible command have no fault",
            (here.info["grounded"], here.info["fault"]) == (True, None),
        )
        known = list(here.info["admissible"])
        for action in [*known[:2], *known[-1:]]:
            info = trial.leads_to(task, [*way, action]).info
            good = (info["grounded"], info["fault"]) == (True, None)
            hold("a command of admissible is executed", good, f"{action!r} in task {task.key} has {_fault(info)}")
        for text in NONSENSE:
            info = trial.leads_to(task, [*way, text]).info
            good = (info["grounded"], info["fault"]) == (False, "format")
            hold("what is no command is a fault of format", good, f"{text!r} has {_fault(info)}")
        for action in [text for text in trial.commands if text not in known][:4]:
            info = trial.leads_to(task, [*way, action]).info
            good = (info["grounded"], info["fault"]) in ((True, None), (False, "inadmissible"))
            hold("a command that is not possible is inadmissible", good, f"{action!r} has {_fault(info)}")


def _fault(info: Mapping[str, Any]) -> str:
    return f"grounded={info['grounded']}, fault={info['fault']!r}"


def _unchanged(trial: WorldTrial) -> None:
    for task, way, here in trial.places():
        for text in [*NONSENSE, *trial.commands[:4]]:
            after = trial.leads_to(task, [*way, text])
            same = [here.info[key] == after.info[key] for key in ("success", "progress")]
            same.append(list(here.info["admissible"]) == list(after.info["admissible"]))
            good = after.info["grounded"] or all(same)
            hold("what is not executed changes nothing", good, f"{text!r} in task {task.key}")


def _any_text(trial: WorldTrial) -> None:
    for task in trial.tasks[:3]:
        world = trial.fresh()
        (seen,) = world.begin(task)
        odd = [f"{text}{more}" for text in list(seen.info["admissible"])[:2] for more in ("\x00", " ", "\n", "\ud800")]
        for text in [*TEXTS, *odd]:
            seen = world.step(text)
            hold("the answer to any text is a text", isinstance(seen.observation, str))
            if seen.over:
                world.begin(task)


def _progress(trial: WorldTrial) -> None:
    for task, actions in trial.walks:
        told = [*trial.fresh().begin(task, actions), *trial.fresh().expert(task)[1]]
        wrong = [seen.info["progress"] for seen in told if not 0 <= seen.info["progress"] <= 1]
        hold("progress is in [0, 1]", not wrong, f"{wrong[:1]} in task {task.key}")


def _outcome(trial: WorldTrial) -> None:
    for task in trial.tasks:
        for seen in (trial.fresh().expert(task)[1], _idle(trial.fresh(), task)):
            total = sum(one.reward for one in seen)
            hold("rewards are finite", math.isfinite(total), str(total))
            hold(
                "the rewards of an episode add up to 0 to 1", -1e-6 <= total <= 1 + 1e-6, f"{total} in task {task.key}"
            )


def _idle(world: Tried, task: Task) -> list[Seen]:
    """An episode in which nothing is done, up to its end or one step beyond the limit."""
    seen = world.begin(task)
    while not seen[-1].over and len(seen) <= world.env.max_steps + 1:
        seen.append(world.step(""))
    return seen


def _limit(trial: WorldTrial) -> None:
    for task in trial.tasks[:3]:
        world = trial.fresh()
        seen = _idle(world, task)
        steps, end = len(seen) - 1, seen[-1]
        good = steps == world.env.max_steps and end.truncated and not end.terminated
        said = f"after {steps} of {world.env.max_steps} steps truncated={end.truncated}, terminated={end.terminated}"
        hold("an episode of which nothing comes is truncated after max_steps steps", good, said)
        try:
            world.env.step("")
        except ResetNeeded:
            continue
        raise ContractError("a step after the end raises gymnasium.error.ResetNeeded")


def _success(trial: WorldTrial) -> None:
    for task in trial.tasks:
        seen = _idle(trial.fresh(), task)
        good = not any(one.info["success"] for one in seen)
        hold("an episode that ended without the goal is no success", good, f"nothing was done in task {task.key}")


def _expert(trial: WorldTrial) -> None:
    for task in trial.tasks:
        world = trial.fresh()
        if task.expert_steps > world.env.max_steps:
            continue
        world.begin(task)
        asked = [world.call("expert_action") for _ in range(2)]
        hold("the expert gives the same action when asked again", asked[0] == asked[1], str(asked))
        actions, seen = world.expert(task)
        hold("the expert solves the tasks", bool(seen[-1].info["success"]), f"not {task.key}")
        said = f"{len(actions)} steps for {task.expert_steps} in task {task.key}"
        hold("the expert takes as many steps as its tasks say", len(actions) == task.expert_steps, said)


def _snapshot(trial: WorldTrial) -> None:
    for task, actions in trial.walks:
        world = trial.fresh()
        seen, states, true = world.begin(task), [], []
        for action in actions:
            states.append(world.call("snapshot"))
            true.append(_true_state(world))
            seen.append(world.step(action))
        for count in reversed(range(len(states))):
            for other in (world, trial.fresh()):
                back = other.restore(states[count])
                kept = back.observation == seen[count].observation and _info(back) == _info(seen[count])
                hold("a snapshot tells what was told there", kept, f"step {count} of task {task.key}")
                same = _true_state(other) == true[count]
                hold("a snapshot has the true_state that it was taken in", same, f"step {count} of task {task.key}")
                onward = [other.step(action).told for action in actions[count:]]
                replayed = [one.told for one in trial.fresh().begin(task, actions)[count + 1 :]]
                hold("a snapshot goes on as a replay does", onward == replayed, f"step {count} of task {task.key}")


def _true_state(world: Tried) -> str:
    """Its digest; empty for a world that does not define it."""
    if not says_state(world.env):
        return ""
    with world_call(world.env.name, "true_state", world.task, code=type(world.env)):
        return digest(world.env.true_state())


def _info(seen: Seen) -> tuple[Any, ...]:
    """What `info` says of the state; the fault belongs to the step before it."""
    return tuple(seen.info[key] for key in ("task", "goal", "success", "progress")) + tuple(seen.info["admissible"])


def _pickled(trial: WorldTrial) -> None:
    for task, actions in trial.walks:
        for way, copied in (("pickled", _through_pickle), ("deep", copy.deepcopy)):
            world = trial.fresh()
            world.begin(task, actions[:1])
            with world_call(world.env.name, f"a {way} copy", task, code=type(world.env)):
                twin = Tried(copied(world.env))
            ahead = [twin.step(action).told for action in actions[1:3]]
            wanted = [one.told for one in trial.fresh().begin(task, actions[:3])[2:]]
            hold(f"a {way} copy goes on as the original does", ahead == wanted, f"task {task.key}")


def _through_pickle(env: TextEnv) -> Any:
    return pickle.loads(pickle.dumps(env))  # noqa: S301 - bytes that were made in the same line


def _isolated(trial: WorldTrial) -> None:
    for (task, actions), (other, steps) in zip(trial.walks, trial.walks[1:] + trial.walks[:1], strict=True):
        alone = [seen.told for seen in trial.fresh().begin(task, actions)]
        world, beside = trial.fresh(), trial.fresh()
        together = [seen.told for seen in world.begin(task)]
        beside.begin(other)
        for number, action in enumerate(actions):
            if number < len(steps):
                beside.step(steps[number])
            together.append(world.step(action).told)
        hold("two worlds do not disturb each other", alone == together, f"tasks {task.key} and {other.key}")


def _chance(trial: WorldTrial) -> None:
    tasks, before = trial.tasks, chance()
    logs = [_drawn(trial.fresh()) for _ in range(2)]
    hold("the same seed gives the same episode", logs[0] == logs[1])
    trial.fresh().expert(tasks[0])
    hold("all chance comes from the seed", chance() == before, "a global generator was used")


def _drawn(world: Tried) -> list[Any]:
    """What is told of an episode whose task is drawn."""
    observation, info = world.call("reset", seed=11, options={})
    log: list[Any] = [observation, info["task"]]
    for _ in range(3):
        seen = world.step(next(iter(info["admissible"]), ""))
        log.append(seen.told)
        if seen.over:
            break
    return log


WORLD_TESTS = (
    WorldTest("Gymnasium's check_env accepts the world", _gymnasium),
    WorldTest("a world says what it is", _says),
    WorldTest("each split has tasks, which no other has", _tasks),
    WorldTest("reset begins the task that is asked for", _reset),
    WorldTest("what is told has the right types", _types),
    WorldTest("grounded and fault say what happened", _grounding),
    WorldTest("what is not executed changes nothing", _unchanged),
    WorldTest("any text can be sent", _any_text),
    WorldTest("progress is in [0, 1]", _progress),
    WorldTest("rewards add up to an outcome in [0, 1]", _outcome),
    WorldTest("an episode ends after max_steps steps", _limit),
    WorldTest("success is the goal, not the end of an episode", _success),
    WorldTest("the expert solves the tasks in as many steps as they say", _expert),
    WorldTest("a snapshot goes on as a replay does", _snapshot),
    WorldTest("a copy goes on as the original does", _pickled),
    WorldTest("two worlds do not disturb each other", _isolated),
    WorldTest("all chance comes from the seed", _chance),
)
"""In the order they are run."""


def check_world(factory: Callable[[], TextEnv]) -> None:
    """Run all `WORLD_TESTS` on instances that `factory` makes; ContractError for the first that fails."""
    trial = WorldTrial(factory)
    with watching(LIMITS):
        for test in WORLD_TESTS:
            test.run(trial)
