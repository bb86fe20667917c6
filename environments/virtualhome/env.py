"""VirtualHome as a Gymnasium environment of text: `gymnasium.make("spa_bench:VirtualHome-v0")`.

Separate from the engine because all that is about episodes is here: which task, how many steps, what an agent is
told, what is measured. The engine is the world.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, SupportsFloat

from gymnasium.error import ResetNeeded
from pydantic import Field

from spa_bench.core import Task, UserError, derive_seed
from spa_bench.declared import declared
from spa_bench.environments.arguments import (
    DataFolder,
    Difficulty,
    HeldOutTasks,
    RenderMode,
    Seed,
    StepLimit,
    TaskSource,
    TrainTasks,
    larger_sets,
)
from spa_bench.environments.text import AnyText, Portable, choose, spoken
from spa_bench.environments.virtualhome import corpus, episode, generate, protocols, words
from spa_bench.environments.virtualhome.episode import Episode
from spa_bench.environments.virtualhome.protocols import Protocol
from spa_bench.environments.virtualhome.tasks import GoalKind, Homes, Scenario, folder, official
from spa_bench.files import data_folder

MAX_STEPS = {"official": 40, "default": 16, "hard": 50}
"""Episode limits: SPA's, and for built-in tasks of each difficulty what the longest take the expert."""
MAX_OBSERVATION = 1 << 16
MAX_ACTION = 1 << 22
MOST_SAID = 500
"""Characters of one message between characters (C-WAH: 500)."""
SAY = "say:"
MOST_CHARACTERS = 2

Order = Literal["fixed", "rotate", "random"]
"""Who is first where two want the same thing: always the first, each in turn, or whoever the seed says."""


class Snapshot(NamedTuple):
    """A running episode as an immutable value; it holds the home, so any instance can go on from it."""

    episode: Episode
    start_remaining: int
    over: bool
    seed: int
    heard: tuple[str, ...]
    """What others said to each character in the last step."""


class VirtualHome(Portable):
    """A home in text: walk, find, open, carry, switch, wash, sit. Actions are those of VirtualHome's evolving graph.

    The reward comes at the end of an episode: the share of the goal's conditions that hold then; `success` is all of
    them. `info` has, beyond what every `TextEnv` gives, `conditions`: for each of them whether it holds, `reason`: why
    the last command was not executed, `conflict`: whether another character was first, and `remaining`: the steps of
    the oracle's plan, with those into rooms that it must enter to see what it needs, or None where it finds none.

    `progress` is 1 - remaining / (2 * remaining at the start), not below 0: 0.5 at the start and 1 when done, so that
    a step can lose some; 0 where the oracle finds no way.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it
    name = "virtualhome"
    buckets = (4, 6)
    evaluation_sets = larger_sets()
    reopened = ("homes",)
    settings = {"ppo": {"env_steps": 2400}}  # noqa: RUF012 - as the class above declares it
    """Fewer than ALFWorld's, whose episodes are shorter in tokens: the first table is to take five minutes."""

    @declared("environment virtualhome")
    def __init__(
        self,
        *,
        tasks: TaskSource = "builtin",
        data: DataFolder = None,
        goals: Annotated[
            GoalKind, Field(description="those of the Embodied Agent Interface, or the graphs' difference (SPA)")
        ] = "eai",
        protocol: Annotated[Protocol, Field(description="ours, or SPA's environment with its defects")] = "default",
        max_steps: StepLimit = None,
        seed: Seed = 0,
        difficulty: Difficulty = "default",
        train: TrainTasks = 3000,
        valid: HeldOutTasks = 100,
        characters: Annotated[int, Field(ge=1, le=MOST_CHARACTERS, description="how many act at once")] = 1,
        order: Annotated[Order, Field(description="who is first where two want the same thing")] = "rotate",
        talk: Annotated[bool, Field(description="`say: ...` costs a step and is heard by the other one")] = False,
        render_mode: RenderMode = None,
    ) -> None:
        """`data` is a folder of official tasks (default: the data cache).

        `goals` are those of the Embodied Agent Interface, or what changes between a task's two graphs, as SPA reads
        it. For built-in tasks, `seed`, `difficulty`, `train` and `valid` go to `generate.ensure`.

        `protocol` is `default`, or `spa-released`, SPA's environment with its defects (`protocols`): the reward is then
        1 or 0, and 40 steps are the limit.

        With two `characters`, a second one begins in a room that the task decides; both act at once (`step_all`) and
        share reward and end. `order` says who is first where both want the same thing (`episode.step`). With `talk`,
        `say: ...` costs a step and is heard by the other one.
        """
        self._released = protocol == "spa-released"
        if self._released and (characters > 1 or max_steps not in (None, protocols.MAX_STEPS)):
            raise UserError(
                f"protocol spa-released has 1 character and max_steps={protocols.MAX_STEPS}: leave both out"
            )
        usual = protocols.MAX_STEPS if self._released else MAX_STEPS["official" if tasks == "official" else difficulty]
        self.max_steps = usual if max_steps is None else max_steps
        self.characters, self.order, self.talk = characters, order, talk
        self.outcome = "1 for success, else 0" if self._released else "goal-condition rate at the end"
        self.render_mode = render_mode
        self.observation_space = AnyText(MAX_OBSERVATION, [words.NOTHING])
        self.action_space = AnyText(MAX_ACTION, words.EXAMPLES)
        own = words.instructions(together=characters > 1, talk=talk)
        self.instructions = protocols.instructions() if self._released else own
        self._goals = goals
        self._data = (data or data_folder(self.name)) if tasks == "official" else None
        self._generator: dict[str, Any] = {"seed": seed, "difficulty": difficulty, "train": train, "valid": valid}
        self._now: Snapshot | None = None

    @cached_property
    def homes(self) -> Homes:
        """The set of tasks, opened at first use; instances with the same arguments share it."""
        return official(self._data, self._goals) if self._data else folder(generate.ensure(**self._generator))

    @property
    def protocol(self) -> str:
        """What tables say of how this was played."""
        notes = [protocols.LABELS["spa-released" if self._released else "default"]]
        if self.characters > 1:
            notes.append(f"{self.characters} characters, order {self.order}{', talk' * self.talk}")
        return "; ".join(notes)

    @property
    def content(self) -> str:
        """Digest of the listed tasks."""
        return self.homes.digest

    def tasks(self, split: str) -> tuple[Task, ...]:
        """All tasks of a split, sorted by key. Raises UserError for an unknown split or missing files."""
        return self.homes.tasks(split)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin the task `options["task"]` (a key) of `options["split"]`; without a task, the seed chooses one.

        The split is `train` unless named, or the one that has the key. Raises UserError with several characters.
        """
        self._alone()
        super().reset(seed=seed)
        self._begin(options)
        return self._told(0), self._info(0)

    def reset_all(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> list[tuple[str, dict[str, Any]]]:
        """Begin a task, as `reset` does, with all characters."""
        super().reset(seed=seed)
        self._begin(options)
        return [(self._told(place), self._info(place)) for place in range(self.characters)]

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Execute a command; any text is taken, and what is no possible command changes nothing but costs a step.

        Raises ResetNeeded when there is no running episode, UserError with several characters.
        """
        self._alone()
        told, reward, terminated, truncated, info = self.step_all([action])[0]
        return told, float(reward), terminated, truncated, info

    def step_all(self, actions: Sequence[str]) -> list[tuple[str, SupportsFloat, bool, bool, dict[str, Any]]]:
        """All characters act at once. Raises ResetNeeded when there is no running episode."""
        now = self._running()
        if now.over:
            raise ResetNeeded("the episode is over: call reset() or restore() before the next step()")
        for action in actions:
            spoken(action)
        said = [_message(text) if self.talk else None for text in actions]
        texts = [text if words is None else None for text, words in zip(actions, said, strict=True)]
        after = now.episode.step(texts, self._precedence(now))
        conditions = after.conditions
        terminated = all(conditions)
        truncated = not terminated and after.turns >= self.max_steps
        over = terminated or truncated
        self._now = now._replace(episode=after, over=over, heard=_heard(after, said))
        share = sum(conditions) / len(conditions)
        reward = float(terminated) if self._released else share if over else 0.0
        return [
            (self._told(place), reward, terminated, truncated, self._info(place)) for place in range(self.characters)
        ]

    def render(self) -> str | None:
        """What every character was told last, in render mode `ansi`."""
        if self.render_mode != "ansi" or self._now is None:
            return None
        return "\n".join(self._told(place) for place in range(self.characters))

    def snapshot(self) -> Snapshot:
        """The running or finished episode; costs no copy."""
        return self._running()

    def true_state(self) -> object:
        """What is where in the home, and what each character knows of it."""
        return self._running().episode.essence

    def restore(self, state: Snapshot) -> tuple[str, dict[str, Any]]:
        """Go on from a snapshot, of any instance with as many characters; returns what the first one is told.

        Steps already taken count; this instance's `max_steps` holds.
        """
        self._now = state
        return self._told(0), self._info(0)

    def expert_action(self) -> str:
        """The searching expert's next command, from what the character has seen so far."""
        return self.expert_actions()[0]

    def expert_actions(self) -> list[str]:
        """The same for each character, as if it were alone."""
        now = self._running().episode
        return [now.expert_action(place) for place in range(self.characters)]

    def text_sources(self) -> Sequence[str]:
        """Instructions, and expert and random episodes of some train tasks; the same on every machine."""
        return [self.instructions, *corpus.texts(self.homes, self.characters)]

    def _alone(self) -> None:
        if self.characters > 1:
            raise UserError("several characters act at once: use reset_all() and step_all(), or together.Together")

    def _begin(self, options: dict[str, Any] | None) -> None:
        scenario = self.homes.load(choose(self.homes, options, self.np_random))
        seed = int(self.np_random.integers(2**31))
        first = self._as_released(scenario, seed) if self._released else episode.begin(scenario, self.characters)
        self._now = Snapshot(first, first.remaining or 0, False, seed, ("",) * self.characters)

    def _as_released(self, scenario: Scenario, seed: int) -> Episode:
        left = self._now.episode if self._now else None
        again = left is not None and left.scenario.task == scenario.task
        goal = protocols.goal_of(self.homes, scenario)
        return protocols.begin(scenario, goal, seed, left.world if left and again else None)

    def _running(self) -> Snapshot:
        if self._now is None:
            raise ResetNeeded("there is no episode yet: call reset() first")
        return self._now

    def _precedence(self, now: Snapshot) -> list[int]:
        """Positions of the characters, whoever is first in this step before the others."""
        people, turn = list(range(self.characters)), now.episode.turns
        first = {"fixed": 0, "rotate": turn, "random": derive_seed(now.seed, turn)}[self.order] % self.characters
        return people[first:] + people[:first]

    def _told(self, place: int) -> str:
        now = self._running()
        return "\n".join(filter(None, (now.heard[place], now.episode.shown(place))))

    def _info(self, place: int) -> dict[str, Any]:
        now = self._running()
        return now.episode.info(place, now.start_remaining)


def _message(text: str) -> str | None:
    """What a text says to others, in one line; None where it is a command."""
    head, colon, message = text.partition(":")
    return " ".join(message.split())[:MOST_SAID] if f"{head.strip().lower()}{colon}" == SAY else None


def _heard(after: Episode, said: Sequence[str | None]) -> tuple[str, ...]:
    """For each character what the others said."""
    if not any(said):
        return ("",) * len(said)
    names = [after.name(place) for place in range(len(said))]
    return tuple(
        "\n".join(
            f'{name} says: "{text}"'
            for i, (name, text) in enumerate(zip(names, said, strict=True))
            if text and i != place
        )
        for place in range(len(said))
    )
