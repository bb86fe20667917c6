"""What an action is, and the actions that are the same in every profile.

An action is a check and an effect over a `State`. A check says why the action is refused, in upstream's words where
upstream has any, and the first reason wins; None is no reason. An effect changes the state; it returns a complaint
only in the released profiles, which let some actions succeed and complain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from spa_bench.environments.virtualhome.state import State

Ids = tuple[int, ...]
Check = Callable[[State, int, Ids], str | None]
"""(state, character, objects) -> reason."""
Effect = Callable[[State, int, Ids], str | None]
"""(state, character, objects) -> complaint."""

OPENABLE = frozenset({"desk", "window"})
"""Classes that open without CAN_OPEN."""
LIFTABLE = frozenset({"water", "child"})
"""Classes that are grabbed without GRABBABLE."""
RECIPIENTS = frozenset({"hands_both", "sponge", "face"})
"""Classes that are poured into without RECIPIENT."""
MOVING = frozenset({"chair", "curtain", "button"})
"""Classes that move without MOVABLE."""
SQUEEZABLE = frozenset(
    {
        *("cleaning_solution", "tooth_paste", "shampoo", "food_peanut_butter", "dish_soap", "soap", "towel", "rag"),
        *("paper", "sponge", "food_lemon", "check"),
    }
)
"""Classes that are squeezed without being CLOTHES."""


class Crash(Exception):
    """Upstream dies here; the message is the name of its Python exception."""


class Verb(NamedTuple):
    """One action of one profile."""

    arity: int
    check: Check
    effect: Effect
    reach: Literal["any", "near", "held"] = "any"
    """Where the first object must be for the check to pass; says nothing that the check does not."""


# Reasons


def far(s: State, c: int, n: int) -> str | None:
    """The character must be near."""
    return None if s.near(c, n) else f"{s.name(c)} is not close to {s.name(n)}"


def not_held(s: State, c: int, n: int) -> str | None:
    """The character must have it in a hand."""
    return None if s.holds(c, n) else f"{s.name(c)} is not holding {s.name(n)}"


def handless(s: State, c: int) -> str | None:
    """The character must have an empty hand."""
    return f"{s.name(c)} does not have a free hand" if s.free_hand(c) is None else None


def enclosed(s: State, n: int) -> str | None:
    """The thing must not be directly inside something closed."""
    return f"{s.name(n)} is inside other closed thing" if s.shut_in(n) else None


def lacking(s: State, n: int, quality: str, words: str) -> str | None:
    """The thing must have a property."""
    return None if quality in s.graph.properties[n] else f"{s.name(n)} {words}"


def not_in(s: State, n: int, state: str) -> str | None:
    """The thing must be in a state."""
    return None if state in s.states(n) else f"{s.name(n)} is not {state.lower()}"


def still_on(s: State, n: int) -> str | None:
    """The thing must not be switched on."""
    return f"{s.name(n)} is still on" if "ON" in s.states(n) else None


def unfit(s: State, n: int, quality: str, classes: frozenset[str], words: str) -> str | None:
    """The thing must have a property, or be of one of the classes that need none."""
    return None if s.graph.classes[n] in classes else lacking(s, n, quality, words)


# Checks


def check_open(s: State, c: int, objects: Ids) -> str | None:
    """Something that opens, closed and not running, and a hand to do it."""
    (n,) = objects
    return (
        unfit(s, n, "CAN_OPEN", OPENABLE, "can not be opened")
        or far(s, c, n)
        or handless(s, c)
        or not_in(s, n, "CLOSED")
        or still_on(s, n)
    )


def check_close(s: State, c: int, objects: Ids) -> str | None:
    """Something that opens, and is open."""
    (n,) = objects
    return unfit(s, n, "CAN_OPEN", OPENABLE, "can not be opened") or far(s, c, n) or not_in(s, n, "OPEN")


def check_switch_on(s: State, c: int, objects: Ids) -> str | None:
    """Something with a switch, off and not unplugged."""
    (n,) = objects
    unplugged = f"{s.name(n)} is unplugged" if "PLUGGED_OUT" in s.states(n) else None
    return _switch(s, c, n) or not_in(s, n, "OFF") or unplugged


def check_switch_off(s: State, c: int, objects: Ids) -> str | None:
    """Something with a switch, on."""
    (n,) = objects
    return _switch(s, c, n) or not_in(s, n, "ON")


def _switch(s: State, c: int, n: int) -> str | None:
    return lacking(s, n, "HAS_SWITCH", "does not have a switch") or far(s, c, n)


def check_plug(s: State, c: int, n: int, state: str) -> str | None:
    """Something with a plug, in that state, and a hand to move the plug."""
    return lacking(s, n, "HAS_PLUG", "does not have a plug") or far(s, c, n) or handless(s, c) or not_in(s, n, state)


def check_drink(s: State, c: int, objects: Ids) -> str | None:
    """Something to drink, or to drink from, in a hand."""
    (n,) = objects
    drinkable = not {"DRINKABLE", "RECIPIENT"}.isdisjoint(s.graph.properties[n])
    return not_held(s, c, n) if drinkable else f"{s.name(n)} is not drinkable or not recipient"


def check_eat(s: State, c: int, objects: Ids) -> str | None:
    """Something to eat, or what something to eat is on."""
    (n,) = objects
    if reason := far(s, c, n):
        return reason
    properties, served = s.graph.properties, s.into("ON", n)
    if "EATABLE" in properties[n] or any("EATABLE" in properties[x] for x in served):
        return None
    return f"none of object on {s.name(n)} is eatable" if served else f"{s.name(n)} is not eatable"


def check_cut(s: State, c: int, objects: Ids) -> str | None:
    """Food that can be cut, a knife in one hand and nothing in the other."""
    (n,) = objects
    armed = any("knife" in s.graph.classes[x] for x in s.held(c))
    return (
        handless(s, c)
        or far(s, c, n)
        or lacking(s, n, "EATABLE", "is not eatable")
        or lacking(s, n, "CUTTABLE", "is not cuttable")
        or (None if armed else f"{s.name(c)} is not holding a knife")
    )


def check_read(s: State, c: int, objects: Ids) -> str | None:
    """Something to read, in a hand."""
    (n,) = objects
    return lacking(s, n, "READABLE", "is not readable") or not_held(s, c, n)


def check_look(s: State, c: int, objects: Ids) -> str | None:
    """Something that is faced."""
    (n,) = objects
    return None if s.faces(c, n) else f"{s.name(c)} does not face {s.name(n)}"


def check_watch(s: State, c: int, objects: Ids) -> str | None:
    """Something to look at, in the same room and faced; when seated and no computer, faced directly."""
    (n,) = objects
    if reason := lacking(s, n, "LOOKABLE", "not lookable"):
        return reason
    here, there = s.room(c), s.room(n)
    if here is None or there is None:
        if s.profile == "fixed":
            return f"{s.name(c if here is None else n)} is in no room"
        raise Crash("AttributeError")
    if here != there:
        return f"char room {s.name(here)} is not node room {s.name(there)}"
    awry = s.graph.classes[n] != "computer" and s.posed(c) and n not in s.out("FACING", c)
    return check_look(s, c, objects) or (f"{s.name(c)} is not facing {s.name(n)} while sitting" if awry else None)


def check_touch(s: State, c: int, objects: Ids) -> str | None:
    """Something near and not shut away."""
    (n,) = objects
    return far(s, c, n) or enclosed(s, n)


def check_wipe(s: State, c: int, objects: Ids) -> str | None:
    """Something near, and something in a hand to wipe it with."""
    (n,) = objects
    return far(s, c, n) or (None if s.held(c) else f"{s.name(c)} does not hold anything in hands")


def check_wash(s: State, c: int, objects: Ids) -> str | None:
    """Something near."""
    (n,) = objects
    return far(s, c, n)


def check_squeeze(s: State, c: int, objects: Ids) -> str | None:
    """Clothes or one of a few soft things, and a hand."""
    (n,) = objects
    return handless(s, c) or far(s, c, n) or unfit(s, n, "CLOTHES", SQUEEZABLE, "is not clothes")


def check_type(s: State, c: int, objects: Ids) -> str | None:
    """A keyboard, or anything with a switch."""
    (n,) = objects
    return far(s, c, n) or unfit(s, n, "HAS_SWITCH", frozenset({"keyboard"}), "does not have switch")


def check_greet(s: State, _: int, objects: Ids) -> str | None:
    """A person; in the official graphs characters are none."""
    (n,) = objects
    return lacking(s, n, "PERSON", "is not person")


def check_sleep(s: State, c: int, _: Ids) -> str | None:
    """Seated or lying."""
    return None if s.posed(c) else f"{s.name(c)} is not lying or sitting"


def check_move(s: State, c: int, objects: Ids) -> str | None:
    """Something that moves, not shut away, and a hand."""
    (n,) = objects
    return unfit(s, n, "MOVABLE", MOVING, "is not movable") or check_shift(s, c, objects)


def check_shift(s: State, c: int, objects: Ids) -> str | None:
    """What remains of moving once the thing is known to move."""
    (n,) = objects
    return far(s, c, n) or enclosed(s, n) or handless(s, c)


def check_pour(s: State, c: int, objects: Ids) -> str | None:
    """Something that flows, in a hand, and something near to take it up."""
    a, b = objects
    flows = not {"POURABLE", "DRINKABLE"}.isdisjoint(s.graph.properties[a])
    return (
        (None if flows else f"{s.name(a)} is not pourable or drinkable")
        or unfit(s, b, "RECIPIENT", RECIPIENTS, "is not recipient")
        or not_held(s, c, a)
        or far(s, c, b)
    )


def check_put(s: State, c: int, a: int, b: int, relation: str) -> str | None:
    """The thing in a hand, the place near, and open if it opens and the thing goes in."""
    shut = relation == "INSIDE" and "CAN_OPEN" in s.graph.properties[b] and "OPEN" not in s.states(b)
    return not_held(s, c, a) or far(s, c, b) or (f"{s.name(b)} is not open or is not openable" if shut else None)


def putting(
    relation: str,
    check: Callable[[State, int, int, int, str], str | None],
    put: Callable[[State, int, int, int, str], None],
) -> Verb:
    """The action that puts its first object, held, ON or INSIDE its second."""

    def checked(s: State, c: int, objects: Ids) -> str | None:
        a, b = objects
        return check(s, c, a, b, relation)

    def effect(s: State, c: int, objects: Ids) -> None:
        a, b = objects
        put(s, c, a, b, relation)

    return Verb(2, checked, effect, "held")


def check_wear(s: State, c: int, objects: Ids) -> str | None:
    """Clothes in a hand."""
    (n,) = objects
    return not_held(s, c, n) or lacking(s, n, "CLOTHES", "is not clothes")


def check_drop(s: State, c: int, objects: Ids) -> str | None:
    """Something in a hand."""
    (n,) = objects
    return not_held(s, c, n)


# Effects


def nothing(_: State, __: int, ___: Ids) -> None:
    """The world has no state for what this action does."""


def turn(s: State, c: int, objects: Ids) -> None:
    """Face the thing and nothing else."""
    (n,) = objects
    s.leave("FACING", c)
    s.link(c, "FACING", n)


def change(without: str, having: str) -> Effect:
    """Replace one state of the thing by another."""

    def effect(s: State, _: int, objects: Ids) -> None:
        (n,) = objects
        s.set_state(n, without, having)

    return effect


def anything(_: State, __: int, ___: Ids) -> None:
    """No reason against it."""


_CLEAN = change("DIRTY", "CLEAN")

COMMON: Mapping[str, Verb] = {
    "CLOSE": Verb(1, check_close, change("OPEN", "CLOSED"), "near"),
    "CUT": Verb(1, check_cut, nothing, "near"),
    "DRINK": Verb(1, check_drink, nothing, "held"),
    "EAT": Verb(1, check_eat, nothing, "near"),
    "GREET": Verb(1, check_greet, nothing),
    "LOOKAT": Verb(1, check_look, nothing),
    "OPEN": Verb(1, check_open, change("CLOSED", "OPEN"), "near"),
    "PLUGIN": Verb(
        1,
        lambda s, c, objects: check_plug(s, c, objects[0], "PLUGGED_OUT"),
        change("PLUGGED_OUT", "PLUGGED_IN"),
        "near",
    ),
    "POINTAT": Verb(1, check_look, nothing),
    "READ": Verb(1, check_read, nothing, "held"),
    "RINSE": Verb(1, check_wash, _CLEAN, "near"),
    "SCRUB": Verb(1, check_wash, _CLEAN, "near"),
    "SLEEP": Verb(0, check_sleep, nothing),
    "SQUEEZE": Verb(1, check_squeeze, nothing, "near"),
    "SWITCHOFF": Verb(1, check_switch_off, change("ON", "OFF"), "near"),
    "SWITCHON": Verb(1, check_switch_on, change("OFF", "ON"), "near"),
    "TOUCH": Verb(1, check_touch, nothing, "near"),
    "TURNTO": Verb(1, anything, turn),
    "TYPE": Verb(1, check_type, nothing, "near"),
    "WAKEUP": Verb(0, check_sleep, nothing),
    "WASH": Verb(1, check_wash, _CLEAN, "near"),
    "WIPE": Verb(1, check_wipe, _CLEAN, "near"),
}
