"""Games of one and of several characters: order, budget, records."""

import itertools
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from unanswered import Unanswered

from spa_bench import registry
from spa_bench.core import Agent, Conversation, Reply, Task, TextEnv, Trajectory, derive_seed
from spa_bench.rollout.game import Request, seated
from spa_bench.rollout.player import Player
from spa_bench.runs.episodes import from_row, to_row

OPTIONS = {"train": 60, "valid": 20, "max_steps": 8}


def make(characters: int) -> TextEnv:
    return registry.build("environments", "virtualhome", characters=characters, **OPTIONS)


def agent(name: str = "random") -> Agent:
    return registry.build("agents", name, prompt=registry.prompt("action"))


def requests(tasks: tuple[Task, ...], characters: int) -> Iterator[Request]:
    index = 0
    for number, task in enumerate(tasks):
        for character in range(characters):
            yield Request(index, task, derive_seed(number, character), character)
            index += 1


def play(characters: int, batch: int, count: int, budget: int | None = None, **kwargs: object) -> list[Trajectory]:
    player = Player(lambda: make(characters), batch)
    tasks = make(characters).tasks("train")[:count]
    played = player.play(requests(tasks, characters), agent(), budget=budget, **kwargs)  # type: ignore[arg-type]
    found = list(played)
    assert [request.index for request, _, _ in found] == list(range(len(found)))
    assert [request.character for request, _, _ in found] == [t.character for _, t, _ in found]
    return [trajectory for _, trajectory, _ in found]


def test_the_requests_of_a_game_stand_together() -> None:
    task = Task("virtualhome", "a/b", "train", "x", 1)
    given = [Request(i, task, 0, character) for i, character in enumerate((0, 1, 0, 0, 1, 2))]
    assert [len(game) for game in seated(given)] == [2, 1, 3]
    assert list(seated([])) == []


@pytest.mark.parametrize("characters", [1, 2])
def test_t11_what_is_played_does_not_depend_on_the_batch(characters: int) -> None:
    one, many = (play(characters, batch, 5) for batch in (1, 4))
    assert one == many and len(one) == 5 * characters


def test_characters_of_a_game_share_its_task_outcome_and_end_and_nothing_else() -> None:
    played = play(2, 3, 6)
    for first, second in zip(played[::2], played[1::2], strict=True):
        assert (first.character, second.character) == (0, 1)
        assert first.task == second.task and len(first) == len(second)
        assert (first.outcome, first.success, first.truncated) == (second.outcome, second.success, second.truncated)
    assert any(a.steps[0].action != b.steps[0].action for a, b in zip(played[::2], played[1::2], strict=True))


@pytest.mark.parametrize("budget", [1, 15, 16, 17, 40, 79, 80])
def test_a_budget_counts_every_characters_steps_and_cuts_between_games(budget: int) -> None:
    whole = play(2, 2, 5)
    lengths = [len(a) + len(b) for a, b in zip(whole[::2], whole[1::2], strict=True)]
    fitting = next((n for n in range(len(lengths)) if sum(lengths[: n + 1]) > budget), len(lengths))
    assert play(2, 2, 5, budget=budget) == whole[: 2 * fitting]


class Clocked:
    """A world that counts its steps."""

    def __init__(self, env: TextEnv, taken: list[int]) -> None:
        self.env, self.taken = env, taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def step_all(self, actions: Any) -> Any:
        self.taken[0] += len(actions)
        return self.env.step_all(actions)


@pytest.mark.parametrize(("characters", "budget"), [(1, 100), (1, 230), (2, 230)])
def test_hardly_anything_is_played_that_a_budget_does_not_keep(characters: int, budget: int) -> None:
    """Forty games at once would take 230 steps and more for a budget of 100. What is thrown away here is less than the
    last few games."""
    taken = [0]
    player = Player(lambda: cast(TextEnv, Clocked(make(characters), taken)), 40)
    tasks = make(characters).tasks("train")[:60]
    found = [t for _, t, _ in player.play(requests(tasks, characters), agent(), budget=budget)]
    kept = sum(map(len, found))
    assert budget - 8 * characters < kept <= budget
    assert taken[0] - kept <= 3 * 8 * characters


def test_a_budget_begins_as_many_games_as_it_will_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 steps of games of up to 8: 13 to begin with. They took 26: games of 2, of which 37 more will do.

    Those took 70 in all: 50 games took 96 steps, so that the 4 left are for three.
    """
    lengths = iter([2] * 13 + [2] * 33 + [1] * 4 + [2] * 2)
    sizes = []

    def play_chunk(self: Player, chunk: list[Request], *_: Any) -> tuple[list[Any], int]:
        sizes.append(len(chunk))
        return [range(length) for length in itertools.islice(lengths, len(chunk))], 0

    monkeypatch.setattr(Player, "_chunk", play_chunk)
    player = Player(lambda: make(1), 40)
    tasks = make(1).tasks("train")[:60]
    list(player.play(requests(tasks, 1), agent(), budget=100))
    assert sizes == [13, 37, 3]


def test_a_chunk_that_is_recorded_is_not_played_again() -> None:
    whole = play(2, 2, 4)
    kept = dict(enumerate(whole[:5]))
    player = Player(lambda: make(2), 2)
    found = list(player.play(requests(make(2).tasks("train")[:4], 2), agent(), recorded=kept))
    assert [trajectory for _, trajectory, _ in found] == whole
    assert [new for _, _, new in found] == [False] * 5 + [True] * 3


def test_each_character_is_shown_by_its_own_expert() -> None:
    player = Player(lambda: make(2), 4)
    teacher = agent("expert")
    played = [t for _, t, _ in player.play(requests(make(2).tasks("train")[:4], 2), teacher)]
    for trajectory in played:
        assert all(step.action == step.expert_action for step in trajectory.steps)


class Hasty(Agent):
    """Buys the first product that the search finds, whatever it is."""

    def __init__(self) -> None:
        self.prompt = registry.prompt("action")

    def act(self, conversations: Any) -> list[Reply]:
        return [Reply(self.prompt.render(self._choose(conversation))) for conversation in conversations]

    def _choose(self, conversation: Conversation) -> str:
        wanted = re.compile(r"search.*|click\[(Buy Now|[A-Z0-9]{10})\]")
        return next(action for action in conversation.admissible if wanted.fullmatch(action))


def test_an_episode_that_the_world_ended_is_no_success_unless_the_world_says_so() -> None:
    """A purchase ends an episode of WebShop; only reward 1 is success."""
    make_shop = lambda: registry.build("environments", "webshop", products=200, valid=20)  # noqa: E731
    tasks = make_shop().tasks("valid_unseen")
    requests = [Request(n, task, n) for n, task in enumerate(tasks)]
    played = [t for _, t, _ in Player(make_shop, 8).play(requests, Hasty())]
    assert sum(t.terminated and 0 < t.outcome < 1 for t in played) > 10
    assert [t.success for t in played] == [t.outcome == 1.0 for t in played]


@pytest.mark.parametrize("characters", [1, 2])
def test_an_episode_without_a_reply_ends_there_with_an_error_and_no_other_is_touched(characters: int) -> None:
    """The second game's last character has no reply to its third page: its game ends, with two steps for each."""
    last = 2 * characters - 1
    one = Unanswered(agent(), lambda talk: talk.id == last and talk.turn == 2)
    tasks = make(characters).tasks("train")[:4]
    played = [t for _, t, _ in Player(lambda: make(characters), 3).play(requests(tasks, characters), one)]
    whole = play(characters, 3, 4)
    failed = played[characters : 2 * characters]
    assert all(t.error == "gone" and t.truncated and not t.terminated and not t.success for t in failed)
    assert [t.steps for t in failed] == [t.steps[:2] for t in whole[characters : 2 * characters]]
    assert played[:characters] + played[2 * characters :] == whole[:characters] + whole[2 * characters :]
    assert from_row(to_row(failed[0])) == failed[0]
