"""The words for generated tasks: plain English that calls everything by its name.

`{in}` is `on` for places that things lie on, else `in`. No sentence begins with a name, which would have to be written
with a capital letter there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spa_bench.environments.dice import Dice
from spa_bench.environments.virtualhome.generation.chores import Chore
from spa_bench.environments.virtualhome.generation.draft import relation
from spa_bench.environments.virtualhome.naming import listing, with_article

ONE: Mapping[str, tuple[str, ...]] = {
    "fetch": (
        "Pick up {0}.",
        "Fetch {0}.",
        "Get {0}.",
        "Find {0} and take it in your hand.",
        "Take {0} and keep it in your hand.",
    ),
    "put": (
        "Put {0} {in} {1}.",
        "Place {0} {in} {1}.",
        "Find {0} and put it {in} {1}.",
        "Take {0} and leave it {in} {1}.",
        "See that {0} is {in} {1}.",
    ),
    "put closed": (
        "Put {0} in {1} and close {1}.",
        "Put {0} in {1}, which must be closed in the end.",
        "Find {0}, put it in {1} and close {1} again.",
        "See that {0} is in {1} and that {1} is closed.",
    ),
    "switch on": ("Switch on {0}.", "Switch {0} on.", "Turn on {0}.", "See that {0} is on."),
    "switch off": ("Switch off {0}.", "Switch {0} off.", "Turn off {0}.", "See that {0} is off."),
    "switch on closed": (
        "Close {0} and switch it on.",
        "Switch on {0} with its door closed.",
        "See that {0} is closed and on.",
    ),
    "wash": (
        "Put {0} in {1} and wash it.",
        "Wash {0} and leave it in {1}.",
        "Find {0}, put it in {1} and wash it.",
        "See that {0} is clean and in {1}.",
    ),
    "wash inside": (
        "Put {0} in {1}, close {1} and switch it on.",
        "Wash {0} in {1}, which must be closed and on.",
        "Find {0}, put it in {1}, close {1} and switch it on.",
        "Let {1} wash {0}: put it in, close {1} and switch it on.",
    ),
    "cook": (
        "Put {0} in {1} and switch on {1}.",
        "Toast {0} in {1}, which must be on.",
        "Find {0}, put it in {1} and switch it on.",
    ),
    "cook inside": (
        "Put {0} in {1}, close {1} and switch it on.",
        "Cook {0} in {1}, which must be closed and on.",
        "Heat {0}: put it in {1}, close {1} and switch it on.",
        "Find {0}, put it in {1}, close {1} and switch it on.",
    ),
    "fry": (
        "Put {1} on {2}, put {0} in {1} and switch on {2}.",
        "Cook {0} in {1} on {2}, which must be on.",
        "Prepare {0}: {1} on {2}, {0} in {1}, and {2} on.",
    ),
    "tv": (
        "Switch on {0} and sit on {1}.",
        "Sit on {1} with {0} on.",
        "Rest on {1}: sit down there, and {0} must be on.",
    ),
    "watch": (
        "Sit on {1} and watch {0}, which must be on.",
        "Watch {0} while you sit on {1}; it must be on.",
        "Switch on {0}, sit on {1} and watch {0}.",
    ),
    "sleep": (
        "Switch off {0} and lie on {1}.",
        "Lie on {1} with {0} off.",
        "Go to sleep: {0} off, and you lie on {1}.",
    ),
    "read": (
        "Sit on {1} and read {0}.",
        "Read {0} while you sit on {1}.",
        "Take {0}, sit on {1} and read it.",
    ),
    "drink": (
        "Sit on {1} and drink from {0}.",
        "Take {0}, sit on {1} and drink.",
        "Drink from {0} while you sit on {1}.",
    ),
}
"""For a task of one chore; 0, 1, 2 are its pieces in their order."""

PART: Mapping[str, str] = {
    "fetch": "take {0}",
    "put": "put {0} {in} {1}",
    "switch on": "switch on {0}",
    "switch off": "switch off {0}",
    "switch on closed": "switch on {0} with its door closed",
    "wash": "leave {0} clean in {1}",
    "wash inside": "wash {0} in {1}, closed and on",
    "cook": "toast {0} in {1}, which must be on",
    "cook inside": "cook {0} in {1}, closed and on",
    "fry": "cook {0} in {1} on {2}, which must be on",
}
"""For a task of several chores."""

SEVERAL: Mapping[str, tuple[str, ...]] = {
    "fetch": ("Do this: {}.", "Please {}.", "Fill both hands: {}."),
    "switch": ("Do this: {}.", "Before you go, {}.", "Please {}."),
    "wash": ("Do this: {}.", "Please {}.", "Leave nothing dirty: {}."),
    "cook": ("Do this: {}.", "Please {}.", "Prepare a meal: {}."),
    "tidy": ("Tidy up: {}.", "Please {}.", "Bring some order: {}."),
}


def instruction(dice: Dice, kind: str, chores: Sequence[Chore], names: Mapping[int, str], *, closed: bool) -> str:
    """One sentence for a task of this kind; `closed`: the container is to be closed in the end."""
    if len(chores) > 1:
        parts = [_filled(PART[chore.phrasing], chore, names) for chore in chores]
        comma = any("," in part for part in parts)
        return dice.among(SEVERAL[kind]).format("; ".join(parts) if comma else listing(parts))
    (chore,) = chores
    return _filled(dice.among(ONE[f"{chore.phrasing} closed" if closed else chore.phrasing]), chore, names)


def _filled(phrase: str, chore: Chore, names: Mapping[int, str]) -> str:
    place = relation(chore.pieces[-1].kind).replace("INSIDE", "in").lower()
    return phrase.format(*[with_article(names[piece.id]) for piece in chore.pieces], **{"in": place})
