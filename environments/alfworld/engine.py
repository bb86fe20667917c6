"""ALFWorld's text world in plain Python: the same observations and admissible commands as upstream, byte for byte.

Separate from the Gymnasium environment so that the oracle, the generator and a search can step it millions of times.
It knows no chance: a state and a command decide everything. `State` is one immutable value, so a snapshot is a
reference and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from spa_bench.environments.alfworld.game import Game, TextVersion
from spa_bench.environments.alfworld.menu import Action, State, local, travel
from spa_bench.environments.alfworld.pddl import GameError, Goal

__all__ = ["Engine", "Game", "GameError", "Goal", "State", "TextVersion", "listed"]

NOTHING = "Nothing happens."
_WELCOME = "-= Welcome to TextWorld, ALFRED! =-"
_ROOM = "You are in the middle of a room. Looking quickly around you, you see"
_HELP = """Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""


class Engine:
    """Plays one game. Usable at once; `reset` goes back to the start and returns the first observation."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self._index = {r: i for i, r in enumerate(game.receptacles)}
        self._targets = [i for r, i in self._index.items() if game.receptacle_type[r] == game.goal.receptacle_type]
        self._travel: dict[str, dict[str, Action]] = {}
        self._start = _start(game)
        self._state = self._start
        self._away: dict[str, Action] = {}
        self._here: dict[str, Action] = {}
        self._admissible: tuple[str, ...] | None = None
        self._won: bool | None = None
        self.last_executed = True
        """The last command was admissible."""
        self._enter(self._start)

    def reset(self) -> str:
        """Start again; returns the welcome, the room and the task."""
        self.restore(self._start)
        room = listed("a " + self.game.names[r] for r in self.game.receptacles)
        return f"{_WELCOME}\n\n{_ROOM} {room}.\n\n{self.game.task}"

    def step(self, command: str) -> str:
        """Execute a command and return the observation; one that is not admissible changes nothing."""
        command = command.strip()
        action = self._here.get(command) or self._away.get(command)
        self.last_executed = action is not None
        if action is None:
            return NOTHING
        verb, first, second = action
        return _VERBS[verb](self, first, second)

    @property
    def state(self) -> State:
        """The current state."""
        return self._state

    @property
    def admissible(self) -> tuple[str, ...]:
        """Exactly the commands that `step` executes now, sorted as plain strings."""
        if self._admissible is None:
            self._admissible = tuple(sorted([*self._away, *self._here]))
        return self._admissible

    @property
    def won(self) -> bool:
        """The goal holds now; it can be lost again by going on."""
        if self._won is None:
            self._won = self._lit() if self.game.goal.kind == "light" else self._stored()
        return self._won

    def snapshot(self) -> State:
        """The current state, to be given to `restore` of any engine of the same game."""
        return self._state

    def restore(self, state: State) -> None:
        """Continue from a snapshot."""
        self.last_executed = True
        self._enter(state)

    def _enter(self, state: State) -> None:
        self._state = state
        self._admissible = None
        self._won = None
        away = self._travel.get(state.location)
        if away is None:
            self._travel[state.location] = away = travel(self.game, state.location)
        self._away = away
        self._here = local(self.game, state, self._index)

    def _stored(self) -> bool:
        """Enough objects of the type, treated where the task asks for it, are in one receptacle of the type."""
        game, state, goal = self.game, self._state, self.game.goal
        wanted = 2 if goal.kind == "two" else 1
        for i in self._targets:
            objects = [o for o in state.contents[i] if game.object_type[o] == goal.object_type]
            if len(objects) >= wanted and any(_treated(game, state, o) for o in objects):
                return True
        return False

    def _lit(self) -> bool:
        """An object of the type is in hand, where a lamp of the type has been turned on."""
        game, state, goal = self.game, self._state, self.game.goal
        if state.held is None or game.object_type[state.held] != goal.object_type:
            return False
        here = [self._index[r] for r in game.receptacles_at.get(state.location, ())]
        lamps = (o for i in here for o in state.contents[i] if game.object_type[o] == goal.receptacle_type)
        return any(o in state.toggled and o in game.toggleable for o in lamps)

    def _filled(self, receptacle: str, objects: frozenset[str]) -> tuple[frozenset[str], ...]:
        i = self._index[receptacle]
        contents = self._state.contents
        return (*contents[:i], objects, *contents[i + 1 :])

    def _look(self, _: str, __: str) -> str:
        names, state = self.game.names, self._state
        here = self.game.receptacles_at.get(state.location)
        if here is None:  # upstream lists no receptacles here, only in the welcome
            return f"{_ROOM} nothing."
        objects = sorted(o for o, location in state.placed if location == state.location)
        floor = [f"a {names[o]}" for o in objects for r in here if (o, r) in state.missed]
        return f"You are facing the {listed(names[r] for r in here)}. Next to it, you see {listed(floor)}."

    def _inventory(self, _: str, __: str) -> str:
        held = self._state.held
        return "You are not carrying anything." if held is None else f"You are carrying: a {self.game.names[held]}."

    def _help(self, _: str, __: str) -> str:
        return _HELP

    def _examine(self, r: str, _: str = "") -> str:
        game, state = self.game, self._state
        name, closable = game.names[r], r in game.openable
        if closable and r not in state.opened:
            return f"The {name} is closed."
        objects = listed(f"a {game.names[o]}" for o in sorted(state.contents[self._index[r]]))
        return f"The {name} is open. In it, you see {objects}." if closable else f"On the {name}, you see {objects}."

    def _inspect(self, o: str, _: str) -> str:
        game, name = self.game, self.game.names[o]
        if o in game.vessels:
            objects = listed(f"a {game.names[x]}" for x in game.inside.get(o, ()))
            return f"This is a normal {name}. In it, you see {objects}."
        condition = _condition(self._state, o)
        if condition:
            return f"This is a {condition} {name}."
        if o in game.toggleable and o in self._state.toggled:
            return f"This {name} is on."
        if o in self._state.sliced:
            return f"This is a sliced {name}."
        return f"There's nothing special about {name}."

    def _go(self, r: str, _: str) -> str:
        location = self.game.location_of[r]
        self._enter(self._state._replace(location=location))
        place = location if self.game.text_version == "2.1.1" else r
        return f"You arrive at {self.game.names[place]}. {self._examine(r)}"

    def _open(self, r: str, _: str) -> str:
        self._enter(self._state._replace(opened=self._state.opened | {r}))
        return f"You open the {self.game.names[r]}. {self._examine(r)}"

    def _close(self, r: str, _: str) -> str:
        self._enter(self._state._replace(opened=self._state.opened - {r}))
        return f"You close the {self.game.names[r]}."

    def _take(self, o: str, r: str) -> str:
        state, names = self._state, self.game.names
        contents = self._filled(r, state.contents[self._index[r]] - {o})
        placed, missed = state.placed - {(o, state.location)}, state.missed | {(o, r)}
        self._enter(state._replace(held=o, contents=contents, placed=placed, missed=missed))
        return f"You pick up the {names[o]} from the {names[r]}."

    def _put(self, o: str, r: str) -> str:
        state, names = self._state, self.game.names
        contents = self._filled(r, state.contents[self._index[r]] | {o})
        placed, missed = state.placed | {(o, state.location)}, state.missed - {(o, r)}
        self._enter(state._replace(held=None, contents=contents, placed=placed, missed=missed))
        if self.game.text_version == "2.1.1":
            return f"You put the {names[o]} in/on the {names[r]}."
        return f"You move the {names[o]} to the {names[r]}."

    def _clean(self, o: str, r: str) -> str:
        self._enter(self._state._replace(clean=self._state.clean | {o}))
        return f"You clean the {self.game.names[o]} using the {self.game.names[r]}."

    def _heat(self, o: str, r: str) -> str:
        self._enter(self._state._replace(hot=self._state.hot | {o}, cool=self._state.cool - {o}))
        return f"You heat the {self.game.names[o]} using the {self.game.names[r]}."

    def _cool(self, o: str, r: str) -> str:
        self._enter(self._state._replace(cool=self._state.cool | {o}, hot=self._state.hot - {o}))
        return f"You cool the {self.game.names[o]} using the {self.game.names[r]}."

    def _use(self, o: str, _: str) -> str:
        self._enter(self._state._replace(toggled=self._state.toggled | {o}))
        return f"You turn on the {self.game.names[o]}."

    def _slice(self, o: str, knife: str) -> str:
        self._enter(self._state._replace(sliced=self._state.sliced | {o}))
        return f"You sliced the {self.game.names[o]} with the {self.game.names[knife]}."


_VERBS: Mapping[str, Callable[[Engine, str, str], str]] = {
    "look": Engine._look,
    "inventory": Engine._inventory,
    "help": Engine._help,
    "examine": Engine._examine,
    "inspect": Engine._inspect,
    "go": Engine._go,
    "open": Engine._open,
    "close": Engine._close,
    "take": Engine._take,
    "put": Engine._put,
    "clean": Engine._clean,
    "heat": Engine._heat,
    "cool": Engine._cool,
    "use": Engine._use,
    "slice": Engine._slice,
}


def listed(items: Iterable[str]) -> str:
    """Upstream's way to write a list: `nothing`, `a x 1`, `a x 1, and a y 1`."""
    *head, last = [*items] or ["nothing"]
    return ", ".join(head) + ", and " + last if head else last


def _start(game: Game) -> State:
    contents: dict[str, set[str]] = {r: set() for r in game.receptacles}
    for o, r in game.initial["inreceptacle"]:
        contents[r].add(o)
    return State(
        location=game.start,
        held=None,
        opened=game.initial["opened"],
        contents=tuple(frozenset(contents[r]) for r in game.receptacles),
        placed=game.initial["objectatlocation"],
        missed=frozenset(),
        clean=game.initial["isclean"],
        hot=game.initial["ishot"],
        cool=game.initial["iscool"],
        sliced=game.initial["issliced"],
        toggled=game.initial["istoggled"],
    )


def _treated(game: Game, state: State, o: str) -> bool:
    kind = game.goal.kind
    if kind == "clean":
        return o in state.clean and o in game.cleanable
    if kind == "heat":
        return o in state.hot and o in game.heatable
    if kind == "cool":
        return o in state.cool and o in game.coolable
    return True


def _condition(state: State, o: str) -> str:
    """The adjectives of an object, where it was heated, cooled or cleaned."""
    words = ["hot"] if o in state.hot else ["cool"] if o in state.cool else []
    words += ["clean"] if o in state.clean else []
    if not words:
        return ""
    if o in state.sliced:
        return " and ".join(words) + " sliced"
    return "cold" if words == ["cool"] else " and ".join(words)
