"""The gold program of a generated task, written from full knowledge of the home, as a line of ActivityPrograms a step.

Separate from the chores, which say what is to be done and not how one gets there: it walks into the room first, opens
what is closed, plugs in what is unplugged, and switches off what must not run while it is opened. Nothing here asks
the engine, which then has to agree: the generator plays every program and checks its goal.
"""

from __future__ import annotations

from spa_bench.environments.virtualhome.generation.draft import Draft, Piece, relation


class Gold:
    """Acts in a home and notes each action."""

    def __init__(self, home: Draft) -> None:
        self._home = home
        self._room = home.pieces[home.character].room
        self._at: set[int] = set()
        self._states = {piece.id: set(piece.states) for piece in home.pieces.values()}
        self._places = {piece.id: piece.place for piece in home.pieces.values()}
        self._rooms = {piece.id: piece.room for piece in home.pieces.values()}
        self.lines: list[str] = []

    def act(self, verb: str, *pieces: Piece) -> None:
        """One line: `[GRAB] <cup> (1.17)`."""
        objects = "".join(f" <{piece.kind}> (1.{piece.id})" for piece in pieces)
        self.lines.append(f"[{verb}]{objects}")

    def go(self, piece: Piece) -> None:
        """Stand at something, after entering its room."""
        room = self._rooms[piece.id]
        if room != self._room:
            self.act("WALK", self._home.pieces[room])
            self._room, self._at = room, set()
        if piece.id not in self._at:
            self.act("WALK", piece)
            self._at = {piece.id}

    def take(self, thing: Piece) -> None:
        """Get a thing into a hand."""
        self.reach(thing)
        self.act("GRAB", thing)

    def reach(self, thing: Piece) -> None:
        """Stand where a thing can be touched.

        That is at what it lies on, or at what it is in and what must be opened: what is in a sink is only near to
        those who walk to the thing itself.
        """
        if thing.id in self._at:
            return
        number = self._places[thing.id]
        place = thing if number is None else self._home.pieces[number]
        inside = relation(place.kind) == "INSIDE"
        if inside and not place.has("CAN_OPEN"):
            place = thing
        self.go(place)
        if inside:
            self.open(place)

    def put(self, thing: Piece, place: Piece) -> None:
        """Move a thing to a place, unless it is there."""
        if self._places[thing.id] == place.id:
            return
        self.take(thing)
        self.go(place)
        inside = relation(place.kind) == "INSIDE"
        if inside:
            self.open(place)
        self.act("PUTIN" if inside else "PUTBACK", thing, place)
        self._places[thing.id], self._rooms[thing.id] = place.id, self._rooms[place.id]
        self._at.add(thing.id)

    def open(self, piece: Piece) -> None:
        """Open something, unless it is open or has no door; what runs is switched off first."""
        states = self._states[piece.id]
        if "CLOSED" in states:
            self.go(piece)
            self.switch(piece, on=False)
            self.act("OPEN", piece)
            states ^= {"OPEN", "CLOSED"}

    def close(self, piece: Piece) -> None:
        """Close something, unless it is closed or has no door."""
        states = self._states[piece.id]
        if "OPEN" in states:
            self.go(piece)
            self.act("CLOSE", piece)
            states ^= {"OPEN", "CLOSED"}

    def switch(self, piece: Piece, *, on: bool) -> None:
        """Switch something on or off, unless it is so or has no switch; what is unplugged is plugged in first."""
        states = self._states[piece.id]
        old, new, verb = ("OFF", "ON", "SWITCHON") if on else ("ON", "OFF", "SWITCHOFF")
        if old in states:
            self.go(piece)
            if on and "PLUGGED_OUT" in states:
                self.act("PLUGIN", piece)
                states ^= {"PLUGGED_IN", "PLUGGED_OUT"}
            self.act(verb, piece)
            states ^= {old, new}
