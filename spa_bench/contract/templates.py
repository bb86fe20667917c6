"""The files that `spa-bench new` writes: each works as it is, and is to be changed.

CLASS, MODULE and NAME are put in place of those of the user's name.
"""

REWARD = '''"""The outcome, shared among the steps: executed steps get a larger share than refused ones.

Paper: none; an example to start from.
Equation: r_t = R * w_t / sum_k w_k, with w_t = 1 where step t was executed, else `refused`.
Defaults: refused 0.25 <- ours.
Deviations: none.
Conserves return: yes.
Needs: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field
from spa_bench import Floats, RewardMethod, Trajectory

Weight = Annotated[float, Field(gt=0, le=1, description="weight of a step that the environment did not execute; ours")]


class CLASS(RewardMethod):
    """Executed steps weigh 1, others `refused`."""

    conserves_return = True

    def __init__(self, *, refused: Weight = 0.25) -> None:
        self.refused = refused

    def rewards(self, group: Sequence[Trajectory]) -> list[Floats]:
        """One array (T,) per trajectory; an episode without steps has an empty one."""
        rewards = []
        for trajectory in group:
            weights = np.array([1.0 if step.grounded else self.refused for step in trajectory.steps])
            rewards.append(trajectory.outcome * weights / weights.sum())
        return rewards
'''

REWARD_TEST = '''"""NAME: an example by hand, and the contract tests of every method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from spa_bench import RewardMethod, Step, Task, Trajectory, UserError, check_reward, registry

METHOD = f"{Path(__file__).with_name('MODULE.py')}:CLASS"


def make(**options: object) -> RewardMethod:
    return registry.build("rewards", METHOD, **options)


def episode(outcome: float, *executed: bool) -> Trajectory:
    """One step for each flag, which says whether the environment executed it."""
    task = Task("alfworld", "put-mug/1", "train", "pick_and_place_simple", 4)
    steps = [
        Step(f"room {n}", f"Action: go {n}", f"go {n}", good, None if good else "inadmissible", 0.0, 0.5)
        for n, good in enumerate(executed)
    ]
    won = outcome == 1.0
    return Trajectory(task, tuple(steps), outcome, success=won, terminated=won, truncated=not won)


def test_by_hand() -> None:
    """Weights of 1, 1/2 and 1 share an outcome of 1; an outcome of 0 leaves nothing to share."""
    group = [episode(1.0, True, False, True), episode(0.0, True), episode(0.5, False, False), episode(1.0)]
    wanted = [[0.4, 0.2, 0.4], [0.0], [0.25, 0.25], []]
    for got, want in zip(make(refused=0.5).rewards(group), wanted, strict=True):
        np.testing.assert_allclose(got, want)


def test_contract() -> None:
    check_reward(make)


@pytest.mark.parametrize("refused", [0, -1, 2, "much"])
def test_a_weight_out_of_range_is_refused(refused: object) -> None:
    with pytest.raises(UserError, match="refused="):
        make(refused=refused)
'''

WORLD = '''"""Lamps in a row: each switch turns its own lamp and the neighbours, until all of them are on."""

from __future__ import annotations

import numpy as np
from spa_bench import World

Lamps = tuple[bool, ...]


class CLASS(World[Lamps]):
    """A state is which lamps are on."""

    name = "NAME"
    instructions = "Use the switches: `press 1`, `press 2`, and so on. A switch turns its lamp and those beside it."
    commands = r"press [1-9]"
    sizes = (300, 40)

    def draw(self, rng: np.random.Generator) -> Lamps:
        """Four to nine lamps, some of them on; what cannot be done is no task, and is drawn again."""
        return tuple(bool(on) for on in rng.integers(2, size=int(rng.integers(4, 10))))

    def goal(self, state: Lamps) -> str:
        """What is to be done."""
        return "turn all lamps on."

    def page(self, state: Lamps) -> str:
        """What an agent sees."""
        return " ".join(f"Lamp {number} is {'on' if on else 'off'}." for number, on in enumerate(state, 1))

    def moves(self, state: Lamps) -> dict[str, Lamps]:
        """What is possible now, and what it leads to."""
        places = range(1, len(state) + 1)
        return {f"press {n}": tuple(on != (abs(n - m) < 2) for m, on in enumerate(state, 1)) for n in places}

    def won(self, state: Lamps) -> bool:
        """The goal is reached."""
        return all(state)
'''

WORLD_TEST = '''"""NAME: an example by hand, and the contract tests of every world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spa_bench import check_world, registry

WORLD = f"{Path(__file__).with_name('MODULE.py')}:CLASS"


def make() -> Any:
    return registry.build("environments", WORLD, train=20, valid=5)


def test_by_hand() -> None:
    """One switch turns three lamps."""
    world = make()
    lamps = (True, False, False, False)
    assert world.page(lamps) == "Lamp 1 is on. Lamp 2 is off. Lamp 3 is off. Lamp 4 is off."
    assert world.moves(lamps)["press 3"] == (True, True, True, True)
    assert world.won((True, True, True, True)) and not world.won(lamps)


def test_an_episode() -> None:
    world = make()
    _, info = world.reset(seed=0)
    for _ in range(info["task"].expert_steps):
        assert not info["success"]
        _, reward, terminated, _, info = world.step(world.expert_action())
    assert (reward, terminated, info["success"]) == (1.0, True, True)


def test_contract() -> None:
    check_world(make)
'''

AGENT = '''"""Gives a command that is possible and that it has not given in this episode."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from spa_bench import Agent, Conversation, Reply, ReplyFormat, derive_seed

Times = Annotated[int, Field(ge=1, description="how often a command may be given")]


class CLASS(Agent):
    """Draws among the commands that have been given less than `times`."""

    apart = True  # a reply depends on its own conversation alone

    def __init__(self, prompt: ReplyFormat, *, times: Times = 1) -> None:
        super().__init__(prompt)
        self.times = times

    def act(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """One reply per conversation, in the form that the run asks for."""
        return [Reply(self.prompt.render(self._choose(conversation))) for conversation in conversations]

    def _choose(self, conversation: Conversation) -> str:
        given = [self.prompt.parse(message.content) for message in conversation.messages if message.role == "assistant"]
        known = conversation.admissible or [""]
        new = [command for command in known if given.count(command) < self.times] or known
        return new[derive_seed(conversation.seed, conversation.turn) % len(new)]  # all chance comes from these two
'''

AGENT_TEST = '''"""NAME: replies by hand, and the contract tests of every agent."""

from __future__ import annotations

from pathlib import Path

import pytest
from spa_bench import Agent, Conversation, Message, Reply, ReplyFormat, UserError, check_agent, registry

AGENT = f"{Path(__file__).with_name('MODULE.py')}:CLASS"
PROMPT = registry.prompt("action")


def make(prompt: ReplyFormat = PROMPT, **options: object) -> Agent:
    return registry.build("agents", AGENT, prompt=prompt, **options)


def conversation(seed: int, *given: str, admissible: tuple[str, ...] = ("look", "open door")) -> Conversation:
    """An episode in which these commands have been given."""
    messages = [Message("user", "A room.")]
    for command in given:
        messages += [Message("assistant", PROMPT.render(command)), Message("user", "Nothing happens.")]
    return Conversation(id=0, seed=seed, messages=messages, admissible=admissible)


def test_what_was_given_is_not_given_again() -> None:
    said = make().act([conversation(seed, "look") for seed in range(5)])
    assert said == [Reply("Action: open door")] * 5


def test_it_repeats_itself_where_nothing_else_is_possible_or_it_may() -> None:
    assert make().act([conversation(0, "look", admissible=("look",))]) == [Reply("Action: look")]
    replies = make(times=2).act([conversation(seed, "look") for seed in range(20)])
    assert {reply.text for reply in replies} == {"Action: look", "Action: open door"}


def test_a_reply_depends_on_its_own_conversation_alone() -> None:
    several = [conversation(seed) for seed in range(8)]
    assert make().act(several) == [make().act([one])[0] for one in several]


def test_where_nothing_is_possible_it_says_nothing() -> None:
    assert PROMPT.parse(make().act([conversation(0, admissible=())])[0].text) == ""


def test_contract() -> None:
    check_agent(make)


def test_an_option_out_of_range_is_refused() -> None:
    with pytest.raises(UserError, match="times=0"):
        make(times=0)
'''

TEMPLATES = {"rewards": (REWARD, REWARD_TEST), "environments": (WORLD, WORLD_TEST), "agents": (AGENT, AGENT_TEST)}
"""Kind of plug-in -> its file, and the test of it."""
