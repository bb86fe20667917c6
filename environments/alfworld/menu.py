"""What can be done now: the commands of a state, each with what it means.

Separate from the engine because it is the hot part, and because admissibility is decided nowhere else: the engine
executes exactly what is listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from spa_bench.environments.alfworld.game import Game

Action = tuple[str, str, str]
"""(verb, first id, second id), ids empty where the verb takes fewer."""

_KNIVES = ("knifetype", "butterknifetype")


class State(NamedTuple):
    """Everything that can change. Hashable: two equal states behave alike for ever."""

    location: str
    held: str | None
    opened: frozenset[str]
    contents: tuple[frozenset[str], ...]
    """Objects of each receptacle, in the order of `Game.receptacles`; an object may be in several."""
    placed: frozenset[tuple[str, str]]
    """(object, location) facts: they decide what can be sliced, and can differ from the receptacle's location."""
    missed: frozenset[tuple[str, str]]
    """(object, receptacle): taken from there and not put back; upstream lists such objects on the floor."""
    clean: frozenset[str]
    hot: frozenset[str]
    cool: frozenset[str]
    sliced: frozenset[str]
    toggled: frozenset[str]


def travel(game: Game, location: str) -> dict[str, Action]:
    """What depends on the location alone. A receptacle that shares the location cannot be gone to."""
    always = ["inventory", "look"] if game.text_version == "2.1.1" else ["help", "inventory", "look"]
    menu: dict[str, Action] = {verb: (verb, "", "") for verb in always}
    menu |= {f"go to {game.names[r]}": ("go", r, "") for r, place in game.location_of.items() if place != location}
    return {command: menu[command] for command in sorted(menu)}


def local(game: Game, state: State, index: Mapping[str, int]) -> dict[str, Action]:
    """What depends on the receptacles here and on the object in hand."""
    menu: dict[str, Action] = {}
    names, held = game.names, state.held
    for r in game.receptacles_at.get(state.location, ()):
        name, closable = names[r], r in game.openable
        accessible = not closable or r in state.opened
        menu[f"examine {name}"] = ("examine", r, "")
        if closable:
            verb = "close" if accessible else "open"
            menu[f"{verb} {name}"] = (verb, r, "")
        for o in state.contents[index[r]]:
            if accessible and held is None and o in game.pickupable:
                menu[f"take {names[o]} from {name}"] = ("take", o, r)
            if o in game.toggleable:  # a lamp in a closed drawer can be used: upstream does not ask
                menu[f"use {names[o]}"] = ("use", o, "")
        if held is not None:
            _with(game, held, r, accessible, menu)
    if held is not None:
        menu[f"examine {names[held]}"] = ("inspect", held, "")
        if game.object_type[held] in _KNIVES:
            _knife(game, state, held, menu)
    return menu


def _with(game: Game, held: str, r: str, accessible: bool, menu: dict[str, Action]) -> None:
    """What can be done to the object in hand with a receptacle; appliances may be closed."""
    name, place, kind = game.names[held], game.names[r], game.receptacle_type[r]
    if accessible and (kind, game.object_type[held]) in game.can_contain:
        old = game.text_version == "2.1.1"
        menu[f"put {name} in/on {place}" if old else f"move {name} to {place}"] = ("put", held, r)
    if kind == "sinkbasintype" and held in game.cleanable:  # a bathtub basin does not clean
        menu[f"clean {name} with {place}"] = ("clean", held, r)
    if kind == "microwavetype" and held in game.heatable:
        menu[f"heat {name} with {place}"] = ("heat", held, r)
    if kind == "fridgetype" and held in game.coolable:
        menu[f"cool {name} with {place}"] = ("cool", held, r)


def _knife(game: Game, state: State, knife: str, menu: dict[str, Action]) -> None:
    for o, location in state.placed:
        if location == state.location and o in game.sliceable:
            menu[f"slice {game.names[o]} with {game.names[knife]}"] = ("slice", o, knife)
