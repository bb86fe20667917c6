"""The oracle: how many steps are left at best, and which, from any state of a game. It sees everything.

Separate from the expert, which has to search. Nothing is searched here either: an optimal plan is one of few routes,
each a sequence of visits such as put what is in hand at D, take O from S, heat O at A, put O at R. Its price follows
from where the visits are (a walk costs 1, none between receptacles of one location) and from what is still closed. All
routes that can be the cheapest are listed and priced. Closing, slicing and looking never shorten a plan.

Receptacles that can stand for one another (where to put something down, which of the right ones to fill) are thinned
out first: one that is neither at a location that the route passes nor a source only matters by being open or closed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from weakref import WeakKeyDictionary

from spa_bench.environments.alfworld.engine import Game, State

Visit = tuple[str, str, int]
"""(verb, object, index of the receptacle); the verb is put, take, clean, heat, cool, use, or go for a mere walk."""

Route = tuple[Visit, ...]

Source = tuple[str, int]
"""(object, index of a receptacle that holds it)."""

LOST = 1_000_000
"""`remaining` where no plan wins: what is in hand fits into no receptacle of the room."""

_APPLIANCES = {"clean": "sinkbasintype", "heat": "microwavetype", "cool": "fridgetype"}
_ACCESSING = ("put", "take")


def remaining(game: Game, state: State) -> int:
    """The length of the shortest plan: 0 if and only if the goal holds; LOST where there is none."""
    return _oracle(game).best(state)[0]


def plan(game: Game, state: State) -> list[str]:
    """Commands that win in `remaining` steps; the same ones each time. Raises ValueError where there are none."""
    return _oracle(game).commands(state)


class Oracle:
    """The tables of one game."""

    def __init__(self, game: Game) -> None:
        self.game = game
        goal = game.goal
        types = [game.receptacle_type[r] for r in game.receptacles]
        self._location = [game.location_of[r] for r in game.receptacles]
        self._kind = goal.kind
        able = {"clean": game.cleanable, "heat": game.heatable, "cool": game.coolable}.get(goal.kind)
        wanted = frozenset(o for o, t in game.object_type.items() if t == goal.object_type)
        self._wanted = wanted if able is None else wanted & able
        lamps = frozenset(o for o, t in game.object_type.items() if t == goal.receptacle_type)
        self._lamps = lamps & game.toggleable if goal.kind == "light" else frozenset()
        self._targets = [] if goal.kind == "light" else _indices(types, {goal.receptacle_type})
        self._fits = (goal.receptacle_type, goal.object_type) in game.can_contain
        self._appliances = _indices(types, {_APPLIANCES.get(goal.kind, "")})
        accepting = {t: {r for r, o in game.can_contain if o == t} for t in set(game.object_type.values())}
        self._accepting = {t: _indices(types, kinds) for t, kinds in accepting.items()}

    def best(self, state: State) -> tuple[int, Route]:
        """The cheapest route and its price."""
        if self._won(state):
            return 0, ()
        closed = {i for i, r in enumerate(self.game.receptacles) if r in self.game.openable and r not in state.opened}
        price = LOST
        best: Route = ()
        routes = {"light": self._light, "two": self._two}.get(self._kind, self._one)
        for route in routes(state, closed):
            cost = self._price(state.location, closed, route)
            if cost < price:
                price, best = cost, route
        return price, best

    def commands(self, state: State) -> list[str]:
        """The cheapest route in words."""
        price, route = self.best(state)
        if price == LOST:
            raise ValueError("no plan wins from this state")
        game, here, opened = self.game, state.location, set(state.opened)
        old = game.text_version == "2.1.1"
        commands = []
        for verb, o, i in route:
            r, name = game.receptacles[i], game.names[game.receptacles[i]]
            if self._location[i] != here:
                here = self._location[i]
                commands.append(f"go to {name}")
            if verb in _ACCESSING and r in game.openable and r not in opened:
                opened.add(r)
                commands.append(f"open {name}")
            words = {
                "put": f"put {game.names[o]} in/on {name}" if old else f"move {game.names[o]} to {name}",
                "take": f"take {game.names[o]} from {name}",
                "use": f"use {game.names[o]}",
            }
            if verb != "go":
                commands.append(words.get(verb, f"{verb} {game.names[o]} with {name}"))
        return commands

    def _price(self, here: str, closed: Collection[int], route: Route) -> int:
        cost = 0
        opened: list[int] = []
        for verb, _, i in route:
            if self._location[i] != here:
                here = self._location[i]
                cost += 1
            if verb != "go":
                cost += 1
                if i in closed and verb in _ACCESSING and i not in opened:
                    opened.append(i)
                    cost += 1
        return cost

    def _won(self, state: State) -> bool:
        if self._kind == "light":
            return state.held in self._wanted and any(
                self._location[i] == state.location and lamp in state.toggled
                for lamp, i in self._where(state, self._lamps)
            )
        done = self._wanted & self._treated(state)
        return any(len(done & state.contents[i]) > (self._kind == "two") for i in self._targets)

    def _treated(self, state: State) -> frozenset[str]:
        """What needs nothing done to it any more."""
        return {"clean": state.clean, "heat": state.hot, "cool": state.cool}.get(self._kind, self._wanted)

    def _where(self, state: State, objects: frozenset[str]) -> list[Source]:
        return [(o, i) for i, contents in enumerate(state.contents) for o in sorted(objects & contents)]

    def _sources(self, state: State) -> list[Source]:
        return self._where(state, self._wanted & self.game.pickupable)

    def _one(self, state: State, closed: Collection[int]) -> Iterator[Route]:
        """One object into one receptacle, treated on the way where the task asks for it."""
        sources = self._sources(state)
        spots = [i for _, i in sources] + self._appliances
        targets = self._thin(self._targets, spots, state, closed) if self._fits else []
        if state.held in self._wanted:
            yield from self._finish(state, state.held, None, targets)
        for head in self._heads(state, closed, spots + targets):
            for o, i in sources:
                for tail in self._finish(state, o, i, targets):
                    yield (*head, ("take", o, i), *tail)

    def _finish(self, state: State, o: str, source: int | None, targets: list[int]) -> Iterator[Route]:
        """What is left to do with an object in hand."""
        if o in self._treated(state):
            for i in targets:
                yield (("put", o, i),)
            return
        # an object can lie in two receptacles: taken from one, it may still be where it belongs
        stored = any(o in state.contents[i] for i in self._targets if i != source)
        for a in self._appliances:
            if stored:
                yield ((self._kind, o, a),)
            else:
                for i in targets:
                    yield (self._kind, o, a), ("put", o, i)

    def _two(self, state: State, closed: Collection[int]) -> Iterator[Route]:
        """Two objects into one receptacle, which may hold one of them already."""
        sources = self._sources(state)
        spots = [i for _, i in self._where(state, self._wanted)]
        targets = self._thin(self._targets, spots, state, closed) if self._fits else []
        heads = self._heads(state, closed, spots + targets)
        for r in targets:
            stored = self._wanted & state.contents[r]
            rest = [(o, i) for o, i in sources if o not in stored]
            if state.held in self._wanted and state.held not in stored:
                # never worse than to put it down elsewhere: whatever else is brought has to get here too
                yield from _brought((("put", state.held, r),), rest, r, 1 - len(stored), state.held)
            else:
                for head in heads:
                    yield from _brought(head, rest, r, 2 - len(stored))

    def _light(self, state: State, closed: Collection[int]) -> Iterator[Route]:
        """An object in hand where a lamp is on. A lamp in hand has to be put down, which may be anywhere."""
        sources, lamps = self._sources(state), self._where(state, self._lamps)
        if state.held in self._wanted:
            for lamp, i in lamps:
                yield (_lit(state, lamp, i),)
        for head in self._heads(state, closed, [i for _, i in sources + lamps]):
            placed = [(o, i) for _, o, i in head if o in self._lamps]
            for o, i in sources:
                for lamp, j in lamps + placed:
                    yield (*head, ("take", o, i), _lit(state, lamp, j))

    def _heads(self, state: State, closed: Collection[int], spots: list[int]) -> list[Route]:
        """Ways to free the hands."""
        if state.held is None:
            return [()]
        places = self._accepting[self.game.object_type[state.held]]
        return [(("put", state.held, i),) for i in self._thin(places, spots, state, closed)]

    def _thin(self, places: list[int], spots: list[int], state: State, closed: Collection[int]) -> list[int]:
        """Of receptacles that serve alike: all of `spots`, and the easiest here, at each spot's location, elsewhere."""
        near = {state.location, *(self._location[i] for i in spots)}
        kept: dict[str, int] = {}
        for i in sorted(places, key=closed.__contains__):
            kept.setdefault(self._location[i] if self._location[i] in near else "elsewhere", i)
        return [*kept.values(), *(i for i in places if i in spots and i not in kept.values())]


def _brought(head: Route, sources: list[Source], r: int, count: int, *used: str | None) -> Iterator[Route]:
    """Bring `count` more different objects to receptacle r."""
    if count == 0:
        yield head
        return
    for o, i in sources:
        if i != r and o not in used:
            yield from _brought((*head, ("take", o, i), ("put", o, r)), sources, r, count - 1, *used, o)


def _lit(state: State, lamp: str, i: int) -> Visit:
    return ("go" if lamp in state.toggled else "use", lamp, i)


def _indices(types: list[str], kinds: Collection[str]) -> list[int]:
    return [i for i, t in enumerate(types) if t in kinds]


_ORACLES: WeakKeyDictionary[Game, Oracle] = WeakKeyDictionary()


def _oracle(game: Game) -> Oracle:
    oracle = _ORACLES.get(game)
    if oracle is None:
        oracle = _ORACLES[game] = Oracle(game)
    return oracle
