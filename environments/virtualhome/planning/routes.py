"""Where to walk: what one walk can bring one near to, and how many walks are needed at least.

Separate from the agenda, which knows why one has to be somewhere. Walks are what makes plans differ in length: all
else that has to be done is counted exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

from spa_bench.environments.virtualhome.planning.layout import Layout
from spa_bench.environments.virtualhome.planning.sketch import Sketch

Target = tuple[str, int]
"""Where one has to be: `near` a node, or CLOSE to it (`close`), or in a room (`room`)."""


class Routes:
    """Answers for the layouts of one sketch; each is kept."""

    def __init__(self, sketch: Sketch, known: int) -> None:
        """`known`: what may be walked to, beside rooms."""
        self._sketch, self._bits = sketch, sketch.bits
        self._known = known
        self._walkers: dict[tuple[Layout, Target], int] = {}
        self._least: dict[tuple[Layout, tuple[tuple[Target, int], ...]], int] = {}
        self._ways: dict[tuple[Layout, tuple[Target, ...], tuple[Target, ...]], tuple[int, ...]] = {}

    def together(self, layout: Layout, one: Target, other: Target) -> bool:
        """Whether one walk can do for both."""
        return self.walkers(layout, one) & self.walkers(layout, other) != 0

    def least(self, layout: Layout, visits: tuple[tuple[Target, int], ...]) -> int:
        """How many walks are needed at least for so many visits to each target.

        Of targets that no walk has in common every one needs its own.
        """
        key = layout, visits
        found = self._least.get(key)
        if found is None:
            found, alone = 0, list[int]()
            for target, times in sorted(visits, key=lambda visit: -visit[1]):
                walkers = self.walkers(layout, target)
                if not any(walkers & other for other in alone):
                    alone.append(walkers)
                    found += times
            self._least[key] = found
        return found

    def ways(self, layout: Layout, now: tuple[Target, ...], later: tuple[Target, ...]) -> tuple[int, ...]:
        """The walks worth considering: each for something that is needed `now`, none that another one makes needless.

        Of equal ones the first target itself is taken, else the smallest id.
        """
        key = layout, now, later
        if key not in self._ways:
            self._ways[key] = tuple(self._best(layout, [*dict.fromkeys((*now, *later))], len(set(now))))
        return self._ways[key]

    def walkers(self, layout: Layout, target: Target) -> int:
        """All that one may walk to for a target."""
        key = layout, target
        found = self._walkers.get(key)
        if found is None:
            found = self._walkers[key] = self._find(layout, *target)
        return found

    def _find(self, layout: Layout, kind: str, n: int) -> int:
        bits = self._bits
        reachable = bits.placed & ~layout.carried() & self._known
        if kind == "near":
            return layout.walkers[n] & reachable
        if kind == "room":
            return bits.mask(x for x in bits.nodes(reachable) if layout.room(x) == n) | bits.bit[n]
        return bits.mask(x for x in bits.nodes(reachable & layout.walkers[n]) if layout.base[x] & bits.bit[n])

    def _best(self, layout: Layout, targets: Sequence[Target], urgent: int) -> list[int]:
        """One walk for each set of targets that can be served together and is part of no larger one."""
        cells = [(-1, 0)]
        for place, target in enumerate(targets):
            walkers = self.walkers(layout, target)
            cells = [
                cell
                for who, served in cells
                for cell in ((who & walkers, served | 1 << place), (who & ~walkers, served))
                if cell[0]
            ]
        useful = [cell for cell in cells if cell[1] & (1 << urgent) - 1]
        sets = [served for _, served in useful]
        largest = [
            (served & -served, served, who)
            for who, served in useful
            if not any(served != more and served & more == served for more in sets)
        ]
        return [self._chosen(targets, served, who) for _, served, who in sorted(largest)]

    def _chosen(self, targets: Sequence[Target], served: int, who: int) -> int:
        for place, (_, n) in enumerate(targets):
            if served >> place & 1 and who & self._bits.bit[n]:
                return n
        return next(self._bits.nodes(who))
