"""What an agent is told of the world, and how what it writes is judged.

Separate from the environment because these are texts: prompts, corpus and tests read them without an episode.
"""

from __future__ import annotations

import re

from spa_bench.core import Fault

_COMMANDS: dict[str, tuple[tuple[str, str], ...]] = {
    "2.1.1": (
        ("look", "look around your current location"),
        ("inventory", "check what you are carrying"),
        ("go to {receptacle}", "move to a receptacle"),
        ("open {receptacle}", "open a receptacle in front of you"),
        ("close {receptacle}", "close it"),
        ("examine {receptacle or object}", "look into a receptacle here, or at the object you carry"),
        ("take {object} from {receptacle}", "pick up an object; your hands must be empty"),
        ("put {object} in/on {receptacle}", "put the object you carry into or onto a receptacle here"),
        ("use {object}", "turn on a lamp"),
        ("clean {object} with {receptacle}", "clean the object you carry, with a sink basin"),
        ("heat {object} with {receptacle}", "heat the object you carry, with a microwave"),
        ("cool {object} with {receptacle}", "cool the object you carry, with a fridge"),
        ("slice {object} with {object}", "slice an object here with the knife you carry"),
    ),
}
_COMMANDS["2.1.2"] = tuple(
    ("move {object} to {receptacle}", meaning) if command.startswith("put ") else (command, meaning)
    for command, meaning in (*_COMMANDS["2.1.1"], ("help", "list the commands"))
)

EXAMPLES = (
    "look",
    "inventory",
    "go to cabinet 1",
    "go to countertop 2",
    "open drawer 3",
    "close fridge 1",
    "examine shelf 2",
    "take apple 1 from fridge 1",
    "put mug 2 in/on desk 1",
    "move mug 2 to desk 1",
    "use desklamp 1",
    "clean plate 1 with sinkbasin 1",
    "heat egg 1 with microwave 1",
    "cool tomato 2 with fridge 1",
    "slice bread 1 with knife 1",
)
"""Commands as they look; what the action space samples."""

LONGEST = 200
"""No command of any game has as many characters; a longer text is no command."""

_FORMS = {
    version: re.compile("|".join(re.sub(r"\\{[^}]*\\}", r"\\S.*", re.escape(command)) for command, _ in commands))
    for version, commands in _COMMANDS.items()
}


def instructions(version: str) -> str:
    """The head of every prompt, in the wording of a text version."""
    commands = "\n".join(f"- {command}: {meaning}" for command, meaning in _COMMANDS[version])
    return (
        "You are in a household and have a task to do. Each turn, give one command; you then read what happened. "
        "Receptacles and objects are called by name and number, such as cabinet 2 or apple 1. Some receptacles are "
        "closed: open them to see what is inside. You can carry one object at a time.\n"
        f"Commands:\n{commands}\n"
        'A command that is not possible now is answered with "Nothing happens."'
    )


def fault(text: str, version: str) -> Fault:
    """Why a text was not executed: `inadmissible` if it reads like a command of this version, else `format`."""
    command = text.strip()
    return "inadmissible" if len(command) <= LONGEST and _FORMS[version].fullmatch(command) else "format"


def goal(first_observation: str) -> str:
    """The task sentence at the end of an episode's first observation."""
    return first_observation.rpartition("Your task is to: ")[2].strip()


def shorten(observation: str, *, first: bool) -> str:
    """The observation as ReAct's prompts have it: without the welcome, and without `You arrive at loc N. `."""
    if first:
        return "\n".join(observation.split("\n\n")[1:])
    if observation.startswith("You arrive at loc "):
        return observation.partition(". ")[2]
    return observation
