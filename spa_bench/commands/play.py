"""A person plays a task in the terminal, with the same world, observations and faults as an agent.

Reads lines and writes lines, so that it works in a pipe. Control characters in the world's text are escaped.
"""

from __future__ import annotations

from typing import Any, TextIO

from spa_bench.config import RunConfig
from spa_bench.core import Task, TextEnv, UserError
from spa_bench.rollout.worlds import ask, make
from spa_bench.terminal import printable, printable_line

HELP = """\
Enter an action of the world, or one of these:
:help        this list and the world's instructions
:hint        the expert's next action
:admissible  all admissible actions
:undo        undo the last step
:quit        leave"""


def build_world(config: RunConfig) -> TextEnv:
    """The configured world."""
    return make(config.env, **config.world.arguments())


def find_task(world: TextEnv, split: str, key: str | None) -> Task:
    """The task of that key, or the first of the split; UserError with the number of tasks where there is none."""
    tasks: tuple[Task, ...] = ask(world, "tasks", split)
    if not tasks:
        raise UserError(f"split {split} has no tasks")
    if key is None:
        return tasks[0]
    for task in tasks:
        if task.key == key:
            return task
    raise UserError(f"no task {key!r} among the {len(tasks)} of {split}, such as {tasks[0].key!r}")


Side = tuple[str, dict[str, Any]]
"""One character's observation and info."""


class Game:
    """One task played by a person; with several characters, the person enters an action for each in turn."""

    def __init__(self, world: TextEnv, task: Task, *, oracle: bool = False) -> None:
        self.world, self.task, self.oracle = world, task, oracle
        self.sides: list[Side] = []
        self.over = False
        self.turns = 0
        self._written: list[str] = []
        self._past: list[tuple[Any, list[Side]]] = []
        self._out: TextIO

    def loop(self, lines: TextIO, out: TextIO) -> None:
        """Play until the lines end, `:quit`, or the end of the episode without an `:undo`."""
        self._out = out
        self._say(f"task {self.task.key} ({self.task.kind}); :help lists the commands")
        options = {"task": self.task.key, "split": self.task.split}
        self.sides = ask(self.world, "reset_all", seed=0, options=options)
        self._show()
        while True:
            print(f"{self._whose()}> ", end="", file=out, flush=True)
            line = lines.readline()
            if not line:
                self._say("")
                return
            text = line.rstrip("\r\n")
            if not lines.isatty():
                self._say(printable_line(text))
            if text.strip() == ":quit":
                return
            self._answer(text)

    def _whose(self) -> str:
        """Who is to act, where it is not always the same."""
        return f"{len(self._written) + 1}" if len(self.sides) > 1 else ""

    def _answer(self, text: str) -> None:
        word = text.strip()
        if word.startswith(":"):
            commands = {":help": self._help, ":hint": self._hint, ":admissible": self._admissible, ":undo": self._undo}
            if word in commands:
                commands[word]()
            else:
                self._say(f"unknown command {printable_line(word, 40)}: :help lists the commands")
        elif self.over:
            self._say("the episode is over: :undo undoes the last step, :quit leaves")
        elif word:
            self._written.append(text)
            if len(self._written) == len(self.sides):
                self._step()

    def _step(self) -> None:
        self._past.append((ask(self.world, "snapshot"), self.sides))
        results = ask(self.world, "step_all", self._written)
        self._written = []
        self.sides = [(observation, info) for observation, _, _, _, info in results]
        self.turns += 1
        _, _, terminated, truncated, info = results[0]
        self.over = terminated or truncated
        self._show(grounding=True)
        if info["success"]:
            self._say(f"solved in {self.turns} turns (the expert needs {self.task.expert_steps})")
        elif self.over:
            self._say("not solved: no turns left" if truncated else "not solved: the episode is over")

    def _show(self, *, grounding: bool = False) -> None:
        for place, (observation, info) in enumerate(self.sides, start=1):
            if len(self.sides) > 1:
                self._say(f"-- character {place}")
            self._say(printable(observation))
            if self.oracle:
                self._say(f"[progress {info['progress']:.2f}]")
            if grounding:
                self._say("[grounded]" if info["grounded"] else f"[not grounded: {info['fault']}]")

    def _help(self) -> None:
        self._say(f"{HELP}\n\n{printable(ask(self.world, 'instructions'))}")

    def _hint(self) -> None:
        if self.over:
            self._say("the episode is over")
        else:
            self._say(printable_line(ask(self.world, "expert_actions")[len(self._written)]))

    def _admissible(self) -> None:
        menu = self.sides[len(self._written)][1]["admissible"]
        self._say("\n".join(printable_line(action) for action in menu))

    def _undo(self) -> None:
        if self._written:
            self._written.pop()
        elif not self._past:
            self._say("nothing to undo")
        else:
            state, self.sides = self._past.pop()
            ask(self.world, "restore", state)
            self.turns, self.over = self.turns - 1, False
            self._show()

    def _say(self, text: str) -> None:
        print(text, file=self._out)
