"""A person plays a task in the terminal: the same world, prompts and faults that an agent meets.

Reads lines and writes lines, so that it works in a pipe. What the world says is shown with control characters escaped.
"""

from __future__ import annotations

from typing import Any, TextIO

from spa_bench import registry
from spa_bench.config import RunConfig
from spa_bench.core import Task, TextEnv, UserError
from spa_bench.terminal import printable, printable_line

HELP = """\
Write a command of the world, or one of these:
:help        this list and the world's own commands
:hint        what the searching expert would do now
:admissible  everything that would be executed now
:undo        take the last step back
:quit        leave"""


def build_world(config: RunConfig) -> TextEnv:
    """The configured world."""
    return registry.build("environments", config.env, **config.world.arguments())


def find_task(world: TextEnv, split: str, key: str | None) -> Task:
    """The task of that key, or the first of the split; UserError with the number of tasks where there is none."""
    tasks = world.tasks(split)
    if not tasks:
        raise UserError(f"split {split} has no tasks")
    if key is None:
        return tasks[0]
    for task in tasks:
        if task.key == key:
            return task
    raise UserError(f"no task {key!r} among the {len(tasks)} of {split}, such as {tasks[0].key!r}")


class Game:
    """One task under a person's hands."""

    def __init__(self, world: TextEnv, task: Task, *, oracle: bool = False) -> None:
        self.world, self.task, self.oracle = world, task, oracle
        self.info: dict[str, Any] = {}
        self.over = False
        self.turns = 0
        self._past: list[Any] = []
        self._out: TextIO

    def loop(self, lines: TextIO, out: TextIO) -> None:
        """Play until the lines end, `:quit`, or the end of the episode without an `:undo`."""
        self._out = out
        self._say(f"task {self.task.key} ({self.task.kind}); :help lists the commands")
        observation, self.info = self.world.reset(seed=0, options={"task": self.task.key, "split": self.task.split})
        self._show(observation)
        while True:
            print("> ", end="", file=out, flush=True)
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

    def _answer(self, text: str) -> None:
        word = text.strip()
        if word.startswith(":"):
            commands = {":help": self._help, ":hint": self._hint, ":admissible": self._admissible, ":undo": self._undo}
            if word in commands:
                commands[word]()
            else:
                self._say(f"no command {printable_line(word, 40)}: :help lists them")
        elif self.over:
            self._say("the episode is over: :undo takes the last step back, :quit leaves")
        elif word:
            self._step(text)

    def _step(self, text: str) -> None:
        self._past.append(self.world.snapshot())
        observation, _, terminated, truncated, self.info = self.world.step(text)
        self.turns += 1
        self.over = terminated or truncated
        self._show(observation)
        grounded = "grounded" if self.info["grounded"] else f"not grounded: {self.info['fault']}"
        self._say(f"[{grounded}]")
        if self.info["success"]:
            self._say(f"solved in {self.turns} turns (the expert needs {self.task.expert_steps})")
        elif self.over:
            self._say("not solved: no turns left" if truncated else "not solved: the episode is over")

    def _show(self, observation: str) -> None:
        self._say(printable(observation))
        if self.oracle:
            self._say(f"[progress {self.info['progress']:.2f}]")

    def _help(self) -> None:
        self._say(f"{HELP}\n\n{printable(self.world.instructions)}")

    def _hint(self) -> None:
        self._say("the episode is over" if self.over else printable_line(self.world.expert_action()))

    def _admissible(self) -> None:
        self._say("\n".join(printable_line(action) for action in self.info["admissible"]))

    def _undo(self) -> None:
        if not self._past:
            self._say("nothing to take back")
            return
        observation, self.info = self.world.restore(self._past.pop())
        self.turns, self.over = self.turns - 1, False
        self._show(observation)

    def _say(self, text: str) -> None:
        print(text, file=self._out)
