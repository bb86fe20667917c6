"""The sentences that an agent writes: 42 commands, one for each action of the engine.

Separate from the environment because these are texts: prompts, corpus and tests read them without an episode. The
wording is that of SPA's environment, which has a template for most actions and asks that exactly one of them matches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

COMMANDS: Mapping[str, str] = {
    "CLOSE": "close {}",
    "CUT": "cut {}",
    "DRINK": "drink {}",
    "DROP": "drop {}",
    "EAT": "eat {}",
    "FIND": "find {}",
    "GRAB": "grab {}",
    "GREET": "greet {}",
    "LIE": "lie on {}",
    "LOOKAT": "look at {}",
    "MOVE": "move {}",
    "OPEN": "open {}",
    "PLUGIN": "plug in {}",
    "PLUGOUT": "plug out {}",
    "POINTAT": "point at {}",
    "POUR": "pour {} into {}",
    "PULL": "pull {}",
    "PUSH": "push {}",
    "PUTBACK": "put {} on {}",
    "PUTIN": "put {} in {}",
    "PUTOBJBACK": "put back {}",
    "PUTOFF": "take off {}",
    "PUTON": "put on {}",
    "READ": "read {}",
    "RELEASE": "release {}",
    "RINSE": "rinse {}",
    "RUN": "run to {}",
    "SCRUB": "scrub {}",
    "SIT": "sit on {}",
    "SLEEP": "sleep",
    "SQUEEZE": "squeeze {}",
    "STANDUP": "stand up",
    "SWITCHOFF": "switch off {}",
    "SWITCHON": "switch on {}",
    "TOUCH": "touch {}",
    "TURNTO": "turn to {}",
    "TYPE": "type on {}",
    "WAKEUP": "wake up",
    "WALK": "walk to {}",
    "WASH": "wash {}",
    "WATCH": "watch {}",
    "WIPE": "wipe {}",
}
"""Action of the engine -> sentence; braces stand for names. SPA's `release` names nothing, so it can never be done."""

EXAMPLES = (
    "walk to kitchen",
    "walk to cup 2",
    "find plate 1",
    "grab cup 2",
    "open fridge",
    "close kitchen_cabinet 3",
    "put cup 2 on kitchen_table",
    "put milk in fridge",
    "switch on tv",
    "switch off light 1",
    "plug in toaster",
    "wash plate 1",
    "sit on sofa",
    "stand up",
    "pour milk into cup 2",
)
"""Commands as they look; what the action space samples."""

LONGEST = 200
"""No command of any home has as many characters; a longer text is no command."""

NOTHING = "Nothing happens."

Forms = Mapping[str, tuple[tuple[str, re.Pattern[str]], ...]]
"""First word -> actions whose sentence begins with it, and the sentence as a pattern with a group for each name."""


def forms(sentences: Mapping[str, str], name: str) -> Forms:
    """The sentences of actions as patterns; `name` is the pattern of what stands for a pair of braces."""
    patterns = {
        action: re.compile(re.escape(text).replace(re.escape("{}"), f"({name})")) for action, text in sentences.items()
    }
    heads = dict.fromkeys(text.split(" ")[0] for text in sentences.values())
    return {
        head: tuple((a, patterns[a]) for a, text in sentences.items() if text.split(" ")[0] == head) for head in heads
    }


_FORMS = forms(COMMANDS, r"\S(?:.*\S)?")


class Reading(NamedTuple):
    """One way to read a text: an action and the names that it is done to."""

    action: str
    names: tuple[str, ...]


def readings(text: str) -> Iterator[Reading]:
    """Every command that the text has the form of: `put back cup on bed` has two, of which the names decide."""
    command = " ".join(text.lower().split()) if len(text) <= LONGEST else ""
    for action, form in _FORMS.get(command.partition(" ")[0], ()):
        if match := form.fullmatch(command):
            yield Reading(action, match.groups())


def sentence(action: str, names: tuple[str, ...] = ()) -> str:
    """The command in words."""
    return COMMANDS[action].format(*names)


def instructions(*, together: bool = False, talk: bool = False) -> str:
    """The head of every prompt; `together` and `talk` as in `env.VirtualHome`."""
    alone, one, two = ([form for form in COMMANDS.values() if form.count("{}") == count] for count in range(3))
    return (
        "You are in a home and have a task to do. Each turn, give one command; you then read what is near you. "
        "Things and rooms are called by their names, with a number where there are several, such as cup 2. You can "
        "only name rooms, and things that you have seen. Walk to a thing before you use it, open what is closed to "
        "see what is inside, and hold at most two things.\n"
        f"{'Another person is in the home and has the same task; you act at the same time. ' * together}"
        f"{'To speak, answer say: and what you want to say. ' * talk}"
        f"Commands with a name after them: {', '.join(form.removesuffix(' {}') for form in one)}\n"
        f"With two names: {', '.join(form.format('cup 2', 'sink') for form in two)}\n"
        f"Alone: {', '.join(alone)}\n"
        f'A command that is not possible now is answered with "{NOTHING}"'
    )
