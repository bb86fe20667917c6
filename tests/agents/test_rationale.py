"""Reasons made by rule: never empty, of what was shown alone, and right where they say that something was seen."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples

from spa_bench import registry
from spa_bench.agents.rationale import reason
from spa_bench.core import derive_seed
from spa_bench.rollout.game import Request, seated
from spa_bench.rollout.player import Player

GOAL = "put a mug in shelf."
ROOM = "You see a cabinet 1, and a desk 1.\nYour task is to: put a mug in shelf."


@pytest.mark.parametrize(
    ("pages", "actions", "action", "want"),
    [
        ([ROOM], [], "go to desk 1", "I have not seen mug yet, so I try desk 1."),
        ([ROOM, "On the desk 1, you see a mug 2."], ["go to desk 1"], "take mug 2 from desk 1",
         "The task asks for mug, and I see mug 2 here."),
        ([ROOM, "On the desk 1, you see a mug 2.", "Nothing."], ["go to desk 1", "look"], "take mug 2 from desk 1",
         "The task asks for mug, and I saw mug 2 after 'go to desk 1'."),
        ([ROOM + " A shelf 1."], [], "go to shelf 1", "The task asks for shelf, and I see shelf 1 here."),
        (["A shelf 1.", "Nothing."], ["look"], "go to shelf 1",
         "The task asks for shelf, and I saw shelf 1 at the beginning."),
        ([ROOM, "A mug 1 and a shelf 1.", "No."], ["look", "look"], "open cabinet 1",
         "All that the task names has been seen, and cabinet 1 is the next thing to use."),
        ([ROOM, "A mug 1 and a shelf 1."], ["look"], "open cabinet 1",
         "Here I see mug shelf, which the task asks for, so next comes cabinet 1."),
        ([ROOM], [], "look", "I have not seen mug yet, so I look around."),
        ([ROOM, "A mug 1 and a shelf 1."], ["look"], "look", "I look what there is to do next."),
    ],
)  # fmt: skip
def test_reasons_by_hand(pages: list[str], actions: list[str], action: str, want: str) -> None:
    assert reason(GOAL, pages, actions, action) == want


def test_a_product_is_chosen_by_what_the_list_says_of_it() -> None:
    goal = "i am looking for red throw pillow, and price lower than 20.00 dollars"
    pages = [f"WebShop [SEP] Instruction: [SEP] {goal} [SEP] Search"]
    assert reason(goal, pages, [], "search[red throw pillow]") == "The task asks for red throw pillow."
    pages.append("Back [SEP] B01 [SEP] Soft throw pillow [SEP] $12.99 [SEP] B02 [SEP] Lamp [SEP] $2.00")
    done = ["search[red throw pillow]"]
    assert reason(goal, pages, done, "click[B01]") == "b01 is listed with throw pillow, which the task asks for."
    want = "Here I see throw pillow, which the task asks for, so next comes b02."
    assert reason(goal, pages, done, "click[B02]") == want


def test_the_task_in_a_page_is_no_sight_of_what_it_names() -> None:
    assert "have not seen mug" in reason(GOAL, [ROOM], [], "open cabinet 1")


TEXT = st.text(st.sampled_from("ab mug 1.[]\n"), max_size=30)


@max_examples(100)
@given(goal=TEXT, pages=st.lists(TEXT, min_size=1, max_size=4), action=TEXT)
def test_a_reason_is_one_line_and_never_empty(goal: str, pages: list[str], action: str) -> None:
    said = reason(goal, pages, ["look"] * (len(pages) - 1), action)
    assert said.strip() and "\n" not in said


RULE = set(
    re.findall(
        r"[a-z]+",
        "the task asks for and i see here saw after at the beginning i have not seen yet so i look around try "
        "look what there is to do next all that names has been seen is the next thing to use listed with which comes",
    )
)


@pytest.mark.parametrize(
    ("world", "options"),
    [("alfworld", {"train": 12, "valid": 2}), ("webshop", {"products": 40, "valid": 4}),
     ("virtualhome", {"train": 12, "valid": 4})],
)  # fmt: skip
def test_the_experts_thoughts_hold_no_word_that_the_agent_has_not_been_shown(
    world: str, options: dict[str, int]
) -> None:
    prompt = registry.prompt("react")
    make = lambda: registry.build("environments", world, **options)  # noqa: E731
    requests = [Request(n, task, derive_seed(n)) for n, task in enumerate(make().tasks("train")[:6])]
    assert len(list(seated(requests))) == 6
    expert = registry.build("agents", "expert", prompt=prompt)
    thoughts = 0
    for _, trajectory, _ in Player(make, 6).play(requests, expert):
        known = RULE | set(re.findall(r"\w+", trajectory.goal.lower()))
        for step in trajectory.steps:
            known |= set(re.findall(r"\w+", f"{step.observation} {step.action}".lower()))
            found = re.fullmatch(r"Thought: (.+)\nAction: (.+)", step.reply)
            assert found and found[2] == step.action
            assert set(re.findall(r"\w+", found[1].lower())) <= known
            if seen := re.search(r"I see (.+) here", found[1]):
                assert seen[1] in step.observation.lower()
            thoughts += 1
    assert thoughts > 12
