"""What counts as one state: exact matches, as 63-bit numbers.

Numbers can be saved as arrays; two different states practically never get the same one. They come from a digest of the
content, so that they are the same on every machine. Methods that group steps by state have the option `key`, so that
what is estimated and what counts as one state can be told apart, and an audit measures what each key mixes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from spa_bench.core import Trajectory, UserError, derive_seed

KeyName = Literal["observation", "history-1", "history-2", "history-3", "history-4", "anchor", "state"]
"""What a state of one task is: the text, with the last turns before it, G2PO's anchor, or the world's own state."""
StateKey = Annotated[
    KeyName,
    Field(description="a state: the text, also with past turns (history-2: two), G2PO's anchor, or the world's own"),
]
INVISIBLE = ("You heat", "You cool", "You clean", "You turn on")
"""How ALFWorld answers to what changes an object and not what is seen."""
NEEDED = {"anchor": frozenset({"menu"}), "state": frozenset({"state"})}
"""What must be recorded with each step (`RewardMethod.records`) for a key; nothing for the others."""


def needed(key: str) -> frozenset[str]:
    """What must be recorded for this key."""
    return NEEDED.get(key, frozenset())


def not_the_text(key: str) -> str:
    """Where a state by this key is not the observation, in a few words; empty where it is."""
    if key.startswith("history"):
        return "a state holds past turns too"
    return {"anchor": "a state is G2PO's anchor", "state": "a state is the world's own"}.get(key, "")


def keyed(trajectory: Trajectory, key: str) -> list[int]:
    """The T + 1 states of an episode for this task and character, by the `key`.

    `state` is the world's own (`Step.state`), `history-k` the observation with the k observations and actions before
    it, `anchor` what G2PO's code takes for a state in ALFWorld: the last observation that an executed action led to,
    with the list of what works there, joined to the one before where that is a text of `INVISIBLE`. UserError where an
    episode was recorded without what a key needs.
    """
    if key.startswith("history-"):
        return states(trajectory, history=int(key.removeprefix("history-")))
    if key == "observation":
        return states(trajectory)
    seen = _anchors(trajectory) if key == "anchor" else _recorded(trajectory, "state")
    return [derive_seed(ascii(place(trajectory)), key, ascii(one)) for one in seen]


def _recorded(trajectory: Trajectory, what: Literal["state", "menu"]) -> list[tuple[str]]:
    """Digests before each step and after the last one. An episode without steps may lack its own."""
    found = [getattr(step, what) for step in trajectory.steps]
    found.append(trajectory.final_state if what == "state" else trajectory.final_menu)
    if trajectory.steps and not all(found):
        key = "state" if what == "state" else "anchor"
        raise UserError(
            f"task {trajectory.task.key}: an episode has no record of the world's {what}, which key={key} groups by: "
            f"play it anew with reward_options.key={key}"
        )
    return [(one,) for one in found]


def _anchors(trajectory: Trajectory) -> list[tuple[str, ...]]:
    """See `keyed`; texts as they are, what works as digests."""
    seen = [*(step.observation for step in trajectory.steps), trajectory.final_observation]
    menus = _recorded(trajectory, "menu")
    anchors: list[tuple[str, ...]] = [(seen[0], *menus[0])]
    last = seen[0]
    for turn, step in enumerate(trajectory.steps, 1):
        if step.grounded:
            before = anchors[-1][-2:] if last.startswith(INVISIBLE) else ()
            anchors.append((*before, seen[turn], *menus[turn]))
            last = seen[turn]
        else:
            anchors.append(anchors[-1])
    return anchors


def place(trajectory: Trajectory) -> tuple[str, str, int]:
    """Whose states an episode has, and whom it may be compared with: its task, and its character where several act."""
    return trajectory.task.env, trajectory.task.key, trajectory.character


def states(trajectory: Trajectory, *, history: int = 0, shared: bool = False) -> list[int]:
    """The T + 1 states of an episode: before each step, and the one that the last step led to.

    A state is the observation with the `history` observations and actions before it (fewer near the start), for this
    task and character; with `shared` it is the observation alone, for all tasks.
    """
    seen = [derive_seed(text) for text in (*(s.observation for s in trajectory.steps), trajectory.final_observation)]
    if shared:
        return seen
    done = [derive_seed(step.action) for step in trajectory.steps]
    own = ascii(place(trajectory))
    first = [max(0, t - history) for t in range(len(seen))]
    return [derive_seed(own, seen[f : t + 1], done[f:t]) for t, f in enumerate(first)]
