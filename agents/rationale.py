"""Short reasons for a scripted agent's commands, made by rule from what the agent has been shown and nothing else.

Demonstrations and worked examples have a thought before each command, so that a model is never taught to think nothing.
The rule: what the task names is said to be named by it, and where it was last seen; of any other thing, what is listed
with it or stands on the page of what the task names, or what of that has not been shown yet. The words come from the
task, the pages so far and the command itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAMELESS = """
a an the and or of to in into on onto from with at by for is are am be it its this that these those there some any your
you i we me my task put place find get take buy look want need looking examine clean cool heat hot under then them two
one below than price lower dollars goal instruction please would like more use turn next go
"""
_COMMON = frozenset(_NAMELESS.split())
"""Words of a task or a command that name no thing."""
_WORD = re.compile(r"\w+")
_BETWEEN = re.compile(r"\b(?:from|in|into|on|onto|to|with|at|of)\b|[\[\]<>(),;|]")


def reason(goal: str, pages: Sequence[str], actions: Sequence[str], action: str) -> str:
    """Why `action` comes next, in one line that is never empty.

    `pages` are what was shown so far, the current page last; `actions` what was done, one fewer.
    """
    goal = goal.lower()
    shown = [page.lower().replace(goal, " ") if goal else page.lower() for page in pages]
    things = _things(action)
    for thing in things:
        if _named(thing, goal):
            return f"The task asks for {_name(thing)}{_where(thing, shown, actions)}."
    missing = [word for word in _words(goal) if not any(_has(page, word) for page in shown)]
    if not things:
        return f"I have not seen {missing[0]} yet, so I look around." if missing else "I look what there is to do next."
    if listed := [word for word in _words(goal) if _has(_title(things[0], shown[-1]), word)]:
        return f"{things[0]} is listed with {' '.join(listed)}, which the task asks for."
    here = [word for word in _words(goal) if _has(shown[-1], word)]
    if len(here) > len(missing):
        return f"Here I see {' '.join(here)}, which the task asks for, so next comes {things[0]}."
    if missing:
        return f"I have not seen {missing[0]} yet, so I try {things[0]}."
    return f"All that the task names has been seen, and {things[0]} is the next thing to use."


def _things(action: str) -> list[str]:
    """What a command is about, without its verb: `take mug 1 from shelf 1` is about mug 1 and shelf 1."""
    rest = re.sub(r"^\W*\w+", " ", action.lower(), count=1)
    parts = [" ".join(_WORD.findall(part)) for part in _BETWEEN.split(rest)]
    return [part for part in parts if _name(part)]


def _name(thing: str) -> str:
    """Without numbers and words that name nothing."""
    return " ".join(word for word in thing.split() if not word.isdigit() and word not in _COMMON)


def _named(thing: str, goal: str) -> bool:
    return all(_has(goal, word) or _has(goal, f"{word}s") for word in _name(thing).split())


def _where(thing: str, shown: Sequence[str], actions: Sequence[str]) -> str:
    """Where the thing was last seen; empty where it was not."""
    seen = [number for number, page in enumerate(shown) if _has(page, thing)]
    if not seen:
        return ""
    if seen[-1] == len(shown) - 1:
        return f", and I see {thing} here"
    return f", and I saw {thing} " + (f"after {actions[seen[-1] - 1]!r}" if seen[-1] else "at the beginning")


def _title(thing: str, page: str) -> str:
    """What a list says behind a thing, as WebShop's results do behind the number of a product."""
    found = re.search(rf"(?<!\w){re.escape(thing)} \[sep\] ([^\[]*)", page)
    return found[1] if found else ""


def _words(goal: str) -> list[str]:
    """The words of a task that name something, each once."""
    found = (word for word in _WORD.findall(goal) if not word.isdigit() and len(word) > 1 and word not in _COMMON)
    return list(dict.fromkeys(found))


def _has(text: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None
