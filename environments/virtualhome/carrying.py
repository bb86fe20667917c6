"""What moves together: things in hands, clothes that are worn, and all that is on or in them.

It is always in the room of its carrier, and close to it after a walk; only the profile `fixed` knows of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from spa_bench.environments.virtualhome.state import State


def load(s: State, roots: Collection[int]) -> set[int]:
    """The roots, and all that is on or in them; never a room, a character, or what somebody holds in a hand."""
    found: set[int] = set()
    todo = set(roots)
    while todo:
        n = todo.pop()
        held = n not in roots and s.holder(n) is not None
        if n not in found and n not in s.graph.rooms and n not in s.graph.characters and not held:
            found.add(n)
            todo |= s.into("ON", n) | s.into("INSIDE", n)
    return found


def carried(s: State, c: int) -> set[int]:
    """Everything that goes where the character goes."""
    return load(s, (*s.held(c), *s.into("ON", c), *s.into("INSIDE", c)))


def place(s: State, things: Iterable[int], room: int | None) -> None:
    """Let things be in this room and no other; with None they stay in theirs."""
    if room is None:
        return
    for n in things:
        s.leave("INSIDE", n, s.out("INSIDE", n) - s.graph.rooms)
        s.link(n, "INSIDE", room)


def lift(s: State, c: int, things: set[int], room: int) -> None:
    """Take things away from all that is not taken with them: into the room of the character, and close to it."""
    kept = things.union(s.held(c), [c])
    for n in things:
        s.clear("ON", n, kept)
        s.clear("INSIDE", n, kept)
        s.clear("CLOSE", n, kept)
        s.link(n, "INSIDE", room)
    s.link_close(c, sorted(things))
