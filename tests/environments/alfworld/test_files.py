"""Game files that cannot be played: each is refused by name, in one line, with a fix; none is guessed at."""

import json
from pathlib import Path

import pytest
from alfworld_home import TASK, home

from spa_bench.environments.alfworld.engine import Game, GameError

BAD = {
    "no text 'grammar'": home(grammar=None),
    "no text 'pddl_problem'": home(pddl_problem=7),
    "not marked as solvable": home(solvable=False),
    "not marked as": {key: value for key, value in home().items() if key != "solvable"},
    "wording of no known version": home(grammar='"rhs": "Your task is to: x." put {o} in/on {r}'),
    "unknown predicate 'burning'": home(facts="(burning Apple_bar_1)"),
    "'openable' needs 1 plain": home(facts="(openable Desk_bar_1 Desk_bar_1)"),
    "something that is no fact": home(facts="((openable) x)"),
    "2 'receptacletype' facts": home(facts="(receptacleType Desk_bar_1 SofaType)"),
    "0 'receptacletype' facts": home(without="(receptacleType Desk_bar_1 "),
    "0 'receptacleatlocation' facts": home(without="(receptacleAtLocation Desk_bar_1 "),
    "object apple_bar_1 has no type": home(without="(objectType Apple_bar_1 "),
    "receptacle sofa_bar_1 has no type": home(facts="(inReceptacle Apple_bar_1 Sofa_bar_1)"),
    "places the agent 0 times": home(without="(atLocation "),
    "places the agent 2 times": home(facts="(atLocation agent1 loc_bar_desk)"),
    "no receptacle": home(without="ecep"),
    "both object and receptacle": home(facts="(objectType Desk_bar_1 DeskType)"),
    "cannot be turned into a name": home(facts="(objectType Apple AppleType)"),
    "ends inside": home(pddl_problem=home()["pddl_problem"][:-3]),
    "never opened": home(pddl_problem=home()["pddl_problem"] + ")"),
    "no (:goal ...) section": home(pddl_problem=home()["pddl_problem"].replace(":goal", ":gaol")),
    "no (:init ...) section": home(pddl_problem=home()["pddl_problem"].replace(":init", ":inti")),
    "not one (define": home(pddl_problem="hello"),
    "none of the six": home(pddl_problem=home()["pddl_problem"].replace("(inReceptacle ?o ?r)", "(likes ?o ?r)")),
    "sliced object": home(pddl_problem=home("clean")["pddl_problem"].replace("isClean ?o", "isSliced ?o")),
    "movable receptacle": home(
        pddl_problem=home()["pddl_problem"].replace("(inReceptacle ?o ?r)", "(inReceptacleObject ?o ?r)")
    ),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_game_that_is_not_understood_is_refused_by_name(reason: str) -> None:
    with pytest.raises(GameError) as caught:
        Game.parse(BAD[reason])
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value), "names a fix"


def test_an_agent_that_starts_at_a_receptacle_is_refused() -> None:
    bad = home()
    bad["pddl_problem"] = bad["pddl_problem"].replace("loc_bar_middle", "loc_bar_desk")
    with pytest.raises(GameError, match="starts at a receptacle"):
        Game.parse(bad)


def test_a_goal_over_two_object_types_is_refused() -> None:
    bad = home("two")
    head, tail = bad["pddl_problem"].split("?o2 AppleType")
    with pytest.raises(GameError, match="none of the six"):
        Game.parse(bad | {"pddl_problem": head + "?o2 MugType" + tail})


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"null", b'{"grammar": 1}'])
def test_every_damaged_file_is_named_in_one_line_with_a_fix(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "game.tw-pddl"
    path.write_bytes(data)
    with pytest.raises(GameError, match=r"game\.tw-pddl") as caught:
        Game.load(path)
    assert "spa-bench data get alfworld" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GameError, match=r"nowhere.*No such file"):
        Game.load(tmp_path / "nowhere")


def test_a_truncated_file_never_raises_anything_but_a_game_error(tmp_path: Path) -> None:
    whole = home()["pddl_problem"]
    for cut in range(0, len(whole), 7):
        with pytest.raises(GameError):
            Game.parse(home(pddl_problem=whole[:cut]))
    path = tmp_path / "game.tw-pddl"
    path.write_text(json.dumps(home()))
    assert Game.load(path).task == TASK
