"""What counts as one state: the option `key` of the methods that group steps by state, by hand and by the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, get_args

import numpy as np
import pytest
from by_hand import advantages, same, told
from strategies import task

from spa_bench import registry
from spa_bench.contract.fakes import fake_batch
from spa_bench.contract.laws import check_reward
from spa_bench.core import Trajectory, UserError
from spa_bench.state_keys import KeyName, keyed, needed, states

KEYS = get_args(KeyName)
GROUPING = ("gigpo", "hgpo", "g2po", "graphgpo", "salt", "3spo", "3spo-lite")
"""Methods that group steps by state."""


def noted(episode: Trajectory, marks: str, what: str = "state", refused: Sequence[int] = ()) -> Trajectory:
    """The episode with one mark for each of its T + 1 moments; steps of these turns were not executed."""
    steps = [
        replace(s, **{what: mark, "grounded": t not in refused, "fault": "inadmissible" if t in refused else None})
        for t, (s, mark) in enumerate(zip(episode.steps, marks, strict=False))
    ]
    return replace(episode, steps=tuple(steps), **{f"final_{what}": marks[-1]})


@pytest.mark.parametrize("name", GROUPING)
@pytest.mark.parametrize("key", ["observation", "history-2", "anchor", "state"])
def test_the_contract_tests_pass_for_every_key(name: str, key: str):
    check_reward(partial(registry.build, "rewards", name, key=key))


@pytest.mark.parametrize("name", GROUPING)
def test_a_method_asks_for_what_its_key_needs(name: str):
    asked = {key: registry.build("rewards", name, key=key).records for key in KEYS}
    assert asked == {key: needed(key) for key in KEYS}
    assert {key: set(records) for key, records in asked.items() if records} == {"anchor": {"menu"}, "state": {"state"}}
    assert registry.build("rewards", name).records == frozenset()


@pytest.mark.parametrize("name", GROUPING)
@pytest.mark.parametrize(("key", "what"), [("state", "state"), ("anchor", "menu")])
def test_an_episode_without_the_record_is_refused_in_one_line(name: str, key: str, what: str):
    """Never a wrong grouping: neither where all is missing nor where the record ends too early."""
    method = registry.build("rewards", name, key=key)
    whole = [noted(noted(told("A x B y C", n), "123"), "123", "menu") for n in (0.0, 1.0)]

    def ask(group: Sequence[Trajectory]) -> None:
        method.advantages(group, method.rewards(group), [np.zeros(len(t) + 1) for t in group], 1.0, 1.0)

    ask(whole)
    for lacking in (replace(whole[0], **{f"final_{what}": ""}), told("A x B y C", 0.0)):
        line = f"no record of the world's {what}, which key={key} groups by: play it anew with reward_options.key={key}"
        with pytest.raises(UserError, match=line):
            ask([whole[1], lacking])


def test_states_of_one_text_are_told_apart_and_texts_of_one_state_are_not():
    """A x B y C and A x D y C. By text, the first steps share A and the second ones nothing; by state 1 2 and 3 2 it is
    the other way round. Returns at gamma 1/2 are 1/2, 1 of the success and 0, 0: A^S is +-1/4 at A, or +-1/2 at 2;
    A^E is +-1/2.
    """
    pair = [noted(told("A x B y C", 1.0), "124"), noted(told("A x D y C", 0.0), "325")]
    method = partial(registry.build, "rewards", "gigpo", gamma=0.5, normalise=False)
    same(advantages(method(), pair), [[0.75, 0.5], [-0.75, -0.5]])
    same(advantages(method(key="state"), pair), [[0.5, 1.0], [-0.5, -1.0]])


def test_a_state_belongs_to_its_task_and_character():
    one = noted(told("A x B", 1.0), "12")
    assert not {*keyed(one, "state")} & {*keyed(replace(one, task=task("another")), "state")}
    assert not {*keyed(one, "state")} & {*keyed(replace(one, character=1), "state")}
    assert keyed(one, "state")[0] == keyed(noted(told("C y B", 0.0), "19"), "state")[0]


def test_history_by_key_is_history_by_number():
    (group, *_) = fake_batch(8, 6)
    for k in (1, 2, 4):
        assert [keyed(t, f"history-{k}") for t in group] == [states(t, history=k) for t in group]
    by_number, by_key = (registry.build("rewards", "gigpo", **o) for o in ({"history": 2}, {"key": "history-2"}))
    same(advantages(by_key, group), advantages(by_number, group))
    assert by_key.our_form == by_number.our_form == "a state holds past turns too (the paper: the observation alone)"
    with pytest.raises(UserError, match="history=1 and key=state both say what a state is: leave one out"):
        registry.build("rewards", "gigpo", history=1, key="state")
    with pytest.raises(UserError, match="key='history-9': use observation or history-1"):
        registry.build("rewards", "gigpo", key="history-9")


# G2PO's anchor


def alike(way: str, menus: str, **fields: Any) -> list[int]:
    """For each moment, the first one with the same anchor."""
    met = keyed(noted(told(way, 0.0), menus, "menu", **fields), "anchor")
    return [met.index(one) for one in met]


def test_a_failed_action_does_not_move_the_anchor():
    """Refused at A: still at A, where the text says "nothing"; then B; refused there twice; back at A."""
    assert alike("A x nothing y B z nothing w nothing v A", "aabbba", refused=(0, 2, 3)) == [0, 0, 2, 2, 2, 0]


def test_what_works_there_is_part_of_the_anchor():
    assert alike("A x B y A z A", "abca") == [0, 1, 2, 0]


def test_a_text_that_shows_no_change_is_joined_to_the_next_one():
    """B after "You heat ..." is another B; the one after that is told from neither the text nor the past."""
    way = "A x B y H z B w B"
    steps = list(told(way, 0.0).steps)
    steps[2] = replace(steps[2], observation="You heat the egg 1 using the microwave 1.")
    heated = replace(told(way, 0.0), steps=tuple(steps))
    by = {refused: keyed(noted(heated, "abhbb", "menu", refused=refused), "anchor") for refused in ((), (3,))}
    assert [by[()].index(one) for one in by[()]] == [0, 1, 2, 3, 1]
    assert by[(3,)][:4] == by[()][:4]
    assert by[(3,)][4] == by[(3,)][3]  # what is refused there leaves it joined


def test_an_episode_without_steps_has_a_start():
    empty = replace(told("A x B", 0.0), steps=())
    for key in KEYS:
        assert len(keyed(empty, key)) == 1


# 3spo's own keys stay what they were


def test_the_paper_s_key_and_the_released_one_are_untouched():
    one, other = told("A x B", 1.0), told("A x B", 1.0, "another")
    by = {key: registry.build("rewards", "3spo-lite", key=key) for key in ("task", "observation", "released")}
    made = {key: [method._states(t) for t in (one, other)] for key, method in by.items()}
    assert made["task"] == made["observation"] == [states(one), states(other)]
    assert made["released"] == [states(one, shared=True)] * 2
    assert by["task"].our_form == registry.build("rewards", "3spo-lite").our_form
    assert (
        "a state is the world's own (the paper: the text alone"
        in registry.build("rewards", "3spo", key="state").our_form
    )
