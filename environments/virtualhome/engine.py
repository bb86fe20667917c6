"""VirtualHome's engine: a world in which characters execute actions on objects, in three named profiles.

Separate from the Gymnasium environment so that planner, generator and tests can step it millions of times. It knows
no chance: a state and an action decide everything, and equally good nodes are taken by the smallest id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from spa_bench.environments.virtualhome.actions import Crash, Ids, Verb
from spa_bench.environments.virtualhome.graph import LARGEST, NOBODY, RELATIONS, Edge
from spa_bench.environments.virtualhome.released import RELEASED
from spa_bench.environments.virtualhome.repaired import FIXED
from spa_bench.environments.virtualhome.state import UNCHANGED, Profile, State

__all__ = ["ARITY", "Outcome", "Profile", "World", "admissible", "executable"]

VERBS: Mapping[Profile, Mapping[str, Verb]] = {"fixed": FIXED, "v2": RELEASED, "v1": RELEASED}
ARITY: Mapping[str, int] = {action: FIXED[action].arity for action in sorted(FIXED)}
"""The 42 actions that can be executed -> number of objects."""

GOING = frozenset({"WALK", "RUN", "FIND"})
UNSUPPORTED = frozenset({"LOOKAT_SHORT", "LOOKAT_LONG"})
"""Upstream parses these and cannot execute them."""


class Outcome(NamedTuple):
    """What became of one action."""

    executed: bool
    message: str = ""
    """Why not; in the released profiles sometimes a complaint about an action that was executed (defects 5, 10)."""
    crash: str = ""
    """In the released profiles, the Python exception with which upstream dies here; `executed` is then False."""


class World(State):
    """A home in which things happen. Making one, and copying one, costs microseconds."""

    __slots__ = ()

    def copy(self) -> World:
        """The same state; neither world sees what later happens in the other."""
        new = World.__new__(World)
        new.graph, new.profile = self.graph, self.profile
        new._out, new._into = self._out, self._into
        if self._out is not UNCHANGED:
            new._out = {relation: changed.copy() for relation, changed in self._out.items()}
            new._into = {relation: changed.copy() for relation, changed in self._into.items()}
        new._states = self._states.copy()
        new._origins = self._origins.copy()
        new._found = self._found
        new._messages = self._messages
        return new

    def __eq__(self, other: object) -> bool:
        """The same state of equal homes, with the same complaints."""
        return self is other or (
            isinstance(other, World)
            and (self.graph, self.key(), self._messages) == (other.graph, other.key(), other._messages)
        )

    __hash__ = None  # type: ignore[assignment]  # it changes

    def execute(
        self,
        action: str,
        objects: Sequence[int] = (),
        character: int | None = None,
        names: Sequence[str] | None = None,
    ) -> Outcome:
        """Let a character, by default the first, do something; what is not executed changes nothing.

        `names` are what a script calls the objects: `fixed` refuses a name that is neither the class nor an alias of
        it, `v1` lets act only on what was walked to or found by the same name, `v2` ignores them.
        """
        objects = tuple(objects)
        c = self.graph.characters[0] if character is None else character
        try:
            message = self._refusal(action, objects, c, names)
        except Crash as crash:
            return Outcome(False, "", str(crash))
        executed = message is None
        if executed:
            message = VERBS[self.profile][action].effect(self, c, objects)
            if self.profile == "v1" and action in GOING:
                self.find(self._called(objects, names)[0], objects[0])
        if self.profile == "fixed":
            self._messages = ()
        if message:
            self._messages += (message,)
        return Outcome(executed, message or "")

    @property
    def messages(self) -> tuple[str, ...]:
        """Complaints about the last action; in the released profiles about all actions so far (defect 14)."""
        return self._messages

    def visible(self, character: int) -> frozenset[int]:
        """What the character can see: its room's contents, itself among them, what it holds, and all rooms.

        Hidden is what is inside something closed, or inside something that opens and is not open, and whatever is in
        that; in the released profiles, what is inside something that is not open by the last of its edges (defect 15).
        """
        rooms, released = self.graph.rooms, self.profile != "fixed"
        here = self.last_container(character) if released else self.room(character)
        inside = self._contents([] if here is None else [here])
        if released:
            inside = {
                n for n in inside if (x := self.last_container(n)) is None or x in rooms or "OPEN" in self.states(x)
            }
        else:
            inside -= self._hidden(inside)
        return rooms.union(inside, self.held(character))

    def edges(self) -> Iterator[Edge]:
        """All edges, ascending."""
        for node in self.graph.nodes:
            for relation in sorted(RELATIONS):
                for to in sorted(self.out(relation, node)):
                    yield node, relation, to

    def key(self) -> tuple[object, ...]:
        """Equal for two worlds of one graph exactly when they are in the same state."""
        base = self.graph.out
        edges = {
            (relation, node, to)
            for relation, changed in self._out.items()
            for node, to in changed.items()
            if to != base[relation].get(node, NOBODY)
        }
        states = {(node, having) for node, having in self._states.items() if having != self.graph.states[node]}
        return self.profile, frozenset(edges), frozenset(states), frozenset(self._origins.items()), self._found

    def _contents(self, containers: Iterable[int]) -> set[int]:
        """All that is inside the containers, directly or not."""
        found: set[int] = set()
        todo = list(containers)
        while todo:
            new = self.into("INSIDE", todo.pop()) - found
            found |= new
            todo += new
        return found

    def _hidden(self, things: Iterable[int]) -> set[int]:
        """What of these is shut away, and all that is in it. Curtains inside each other hide nothing of each other."""
        looped, hidden = self.graph.looped, set[int]()
        for x in set[int]().union(*(self.out("INSIDE", n) for n in things)) - self.graph.rooms:
            states = self.states(x)
            if "CLOSED" in states or ("CAN_OPEN" in self.graph.properties[x] and "OPEN" not in states):
                hidden |= self.into("INSIDE", x) - (looped if x in looped else NOBODY)
        return hidden | self._contents(hidden)

    def _refusal(self, action: str, objects: Ids, c: int, names: Sequence[str] | None) -> str | None:
        """Why the action cannot be executed; None where it can. Raises Crash where upstream dies."""
        verb = VERBS[self.profile].get(action)
        if verb is None or len(objects) != verb.arity:
            if self.profile != "fixed":
                unsupported = "TypeError" if self.profile == "v2" else "ExecutionException"
                raise Crash(unsupported if action in UNSUPPORTED and len(objects) == 1 else "ScriptParseException")
            takes = "is no action" if verb is None else f"takes {verb.arity} objects, not {len(objects)}"
            return f"{action} {takes}"
        if names is not None and len(names) != len(objects):
            return f"{action} has {len(objects)} objects and {len(names)} names"
        if c not in self.graph.characters:
            return f"there is no character {_shown(c)}"
        for name, n in zip(self._called(objects, names), objects, strict=True):
            if reason := self._unknown(action, name, n):
                return reason
        return verb.check(self, c, objects)

    def _called(self, objects: Ids, names: Sequence[str] | None) -> list[str]:
        """Names as scripts are read; the class where there is none."""
        if names is None:
            return [self.graph.classes.get(n, "unknown") for n in objects]
        return [name.lower().replace(" ", "_") for name in names]

    def _unknown(self, action: str, name: str, n: int) -> str | None:
        """Why there is no such object for the profile."""
        kind = self.graph.classes.get(n)
        if kind is None and action in GOING and self.profile != "fixed":
            raise Crash("AttributeError")
        unmet = self.profile == "v1" and action not in GOING and not self.found(name, n)
        if kind is None or unmet:
            return f"<{name}> {_shown(n)} cannot be found"
        if self.profile == "fixed" and name != kind and kind not in self.graph.aliases.get(name, NOBODY):
            return f"{self.name(n)} is not called {name!r}"
        return None


def _shown(n: int) -> str:
    """An id that may be anything; Python refuses to write out numbers of thousands of digits."""
    return f"({n})" if abs(n) < LARGEST else "(a number too large)"


def executable(world: World, action: str, objects: Sequence[int], character: int | None = None) -> bool:
    """Whether `execute` would execute this now; nothing changes."""
    try:
        return (
            world._refusal(action, tuple(objects), world.graph.characters[0] if character is None else character, None)
            is None
        )
    except Crash:
        return False


def admissible(world: World, character: int, candidates: Iterable[int]) -> list[tuple[str, Ids]]:
    """All actions on candidates that the character can execute now, sorted; nothing changes."""
    pool = sorted(set(candidates) & world.graph.classes.keys())
    if character not in world.graph.characters:
        return []
    near = world.neighbourhood(character)
    reach = {
        "any": pool,
        "near": [n for n in pool if n in near],
        "held": [n for n in pool if world.holds(character, n)],
    }
    found: list[tuple[str, Ids]] = []
    for action, verb in sorted(VERBS[world.profile].items()):
        for objects in _choices(verb.arity, reach[verb.reach], reach["near"]):
            if _allowed(world, action, verb, objects, character):
                found.append((action, objects))
    return found


def _allowed(world: World, action: str, verb: Verb, objects: Ids, character: int) -> bool:
    """`executable`, for objects that are there, without asking again what is known."""
    if world.profile == "v1":
        return executable(world, action, objects, character)
    try:
        return verb.check(world, character, objects) is None
    except Crash:
        return False


def _choices(arity: int, firsts: Sequence[int], near: Sequence[int]) -> Iterator[Ids]:
    """What an action may be tried on; the place of a second object is always near."""
    if arity == 0:
        yield ()
    for a in firsts if arity else ():
        if arity == 1:
            yield (a,)
        else:
            yield from ((a, b) for b in near)
