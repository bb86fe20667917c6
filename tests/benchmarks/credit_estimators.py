"""What identifies credit where a clock tells the outcome? Ways to learn contributions from explored episodes, compared.

    python tests/benchmarks/credit_estimators.py [--seeds 0,1,2] [--fits 3] [--tasks 48]

makes (or takes from the cache) the warm start and the explored episodes of the embedded default in ALFWorld for each
seed, and fits every candidate on them `--fits` times, with tasks in five folds: three are learned from, one chooses the
epoch, one is measured, in turn, so that each episode is measured once per fit. Printed are means and standard
deviations over seeds and fits of

- R2: of the predicted outcome, on tasks not learned from; the clock's own (length and timeout) stands first;
- by turn: the share of the variance of contributions that the turn number explains;
- rho: Spearman correlation of contributions with the oracle's progress, mean over episodes; corrected: the same after
  the last step has got what the sum lacks of the outcome, as in `spa`;
- order: among episodes of equal length so far, how often a success has the larger sum of contributions so far than a
  failure; 0.5 is chance.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from spa_bench.audit.measures import progress_made
from spa_bench.config import build
from spa_bench.core import Floats
from spa_bench.rewards._clock import clock, hands
from spa_bench.rewards._network import Parts, Training, Weights, estimate, learn
from spa_bench.runs.progress import Progress
from spa_bench.training import start, warm_episodes
from spa_bench.training.batches import Limit
from spa_bench.training.policy import Policy
from spa_bench.training.pricing import Reference

HOW = Training(hidden=128, epochs=40, patience=6, learning_rate=1e-3, weight_decay=0.01, batch=32, holdout=0.2)
"""As `spa`."""
FOLDS = 5
DEGREE = 5
"""Coefficients of the polynomial in the turn that is taken out of features without position."""


@dataclass(frozen=True)
class Episodes:
    """N explored episodes, padded to L turns."""

    states: Tensor
    """(N, L, D)."""
    mask: Tensor
    """(N, L): 1 where a turn was played."""
    outcomes: Tensor
    timeouts: Floats
    tasks: list[str]
    progress: list[Floats]
    """The oracle's, made in each step."""

    @property
    def lengths(self) -> Tensor:
        """Turns of each."""
        return self.mask.sum(1).long()


def explored(seed: int, tasks: int) -> Episodes:
    """What the warm start of this seed has explored, read by it."""
    config = build({"env": "alfworld", "reward": "spa", "seed": seed, "explore": {"tasks": tasks}})
    common = start.begin(config)
    folder = start.warm_start(common, Progress.quiet())
    played = warm_episodes.read_episodes(warm_episodes.explore(common, folder, Progress.quiet()))
    played = [t for t in played if t.steps and t.error is None]
    policy = Policy(start.load_policy(common, folder).model).requires_grad_(False)
    states = [torch.from_numpy(np.array(h)) for h in Reference(policy, Limit(10**6, 16)).encode(played)]
    padded = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
    mask = torch.arange(padded.shape[1])[None] < torch.tensor([len(h) for h in states])[:, None]
    return Episodes(
        padded, mask.float(), torch.tensor([t.outcome for t in played], dtype=torch.float32),
        np.array([float(t.truncated) for t in played]), [t.task.key for t in played],
        [progress_made(t) for t in played],
    )  # fmt: skip


def without_position(made: Episodes, train: Tensor) -> Tensor:
    """States less what a polynomial in the turn explains of them on the training part."""
    turns = torch.arange(made.states.shape[1]) / made.states.shape[1]
    powers = torch.stack([turns**k for k in range(DEGREE)], dim=1)
    known = made.mask[train].bool()
    rows = powers[None].expand(len(train), -1, -1)[known]
    fitted = torch.linalg.lstsq(rows, made.states[train][known]).solution
    return made.states - powers @ fitted


def usual(made: Episodes, train: Tensor) -> Tensor:
    """(L,): mean outcome of the training episodes that have come as far as each turn."""
    mask = made.mask[train]
    return (mask * made.outcomes[train, None]).sum(0) / mask.sum(0).clamp(min=1)


@dataclass(frozen=True)
class Candidate:
    """A way to learn."""

    name: str
    loss: str
    """`sum`: the paper's; `prefix`: at every turn; `centred`: at every turn, less the usual outcome; `pairs`."""
    value: bool = False
    """The network's number is a prediction, contributions are its differences; otherwise it is the contribution."""
    position: bool = True


CANDIDATES = (
    Candidate("sums (the paper's loss)", "sum"),
    Candidate("sums, without position", "sum", position=False),
    Candidate("prefixes, sums", "prefix"),
    Candidate("prefixes, centred, sums, without position", "centred", position=False),
    Candidate("prefixes, differences of predictions", "prefix", value=True),
    Candidate("prefixes, centred, differences", "centred", value=True),
    Candidate("prefixes, centred, differences, without position", "centred", value=True, position=False),
    Candidate("pairs at equal length, sums", "pairs"),
    Candidate("pairs at equal length, sums, without position", "pairs", position=False),
    Candidate("pairs at equal length, differences", "pairs", value=True),
    Candidate("pairs at equal length, differences, without position", "pairs", value=True, position=False),
)
CENTRED = "sums, contributions centred per turn"
LINEAR = "linear, prefixes, centred, differences, without position"
RIDGE = 0.1


def loss_of(one: Candidate, made: Episodes, states: Tensor, level: Tensor) -> Callable[[Weights, Tensor], Tensor]:
    """Weights and indices to a number; a prefix is weighted so that each episode counts once."""

    def loss(weights: Weights, part: Tensor) -> Tensor:
        mask, outcomes = made.mask[part], made.outcomes[part]
        numbers = estimate(weights, states[part]) * mask
        so_far = numbers if one.value else numbers.cumsum(1)
        if one.loss == "sum":
            return F.mse_loss(numbers.sum(1), outcomes)
        if one.loss == "pairs":
            won = outcomes > 0.5
            both = mask[won][:, None] * mask[~won][None]
            gap = so_far[won][:, None] - so_far[~won][None]
            return (-F.logsigmoid(gap) * both).sum() / both.sum().clamp(min=1)
        target = outcomes[:, None] - (level if one.loss == "centred" else 0.0)
        return (((so_far - target) ** 2 * mask).sum(1) / mask.sum(1)).mean()

    return loss


def fit(one: Candidate, made: Episodes, parts: Parts, rng: torch.Generator) -> tuple[Floats, Floats]:
    """Contributions (N, L) and predicted outcomes (N,)."""
    states = made.states if one.position else without_position(made, parts.train)
    mean = made.outcomes[parts.train].mean()
    begin = {"sum": mean * len(parts.train) / made.mask[parts.train].sum(), "prefix": mean}.get(
        one.loss, torch.zeros(())
    )
    if one.loss == "prefix" and not one.value:
        begin = mean * len(parts.train) / made.mask[parts.train].sum()
    loss = loss_of(one, made, states, usual(made, parts.train))

    def read(_: Weights, part: Tensor) -> list[Tensor]:
        return [states[i, : made.lengths[i]] for i in part]

    weights, _ = learn(read, {}, begin, loss, loss, HOW, parts, rng)
    with torch.no_grad():
        numbers = (estimate(weights, states) * made.mask).double().numpy()
    return (differences(numbers, made) if one.value else numbers), predicted(numbers, made, one.value)


def linear(made: Episodes, parts: Parts) -> tuple[Floats, Floats]:
    """Ridge regression in place of the network; nothing is chosen, so that both other folds are learned from."""
    train = torch.cat([parts.train, parts.choose])
    states, mask = without_position(made, train).double(), made.mask.double()
    rows = states[train][made.mask[train].bool()]
    scaled = states / rows.std(0).clamp(min=1e-6)
    left = (made.outcomes[:, None] - usual(made, train)).double()
    weight = (mask / mask.sum(1, keepdim=True))[train]
    x = scaled[train]
    squares = torch.einsum("nld,nl,nle->de", x, weight, x) + RIDGE * weight.sum() * torch.eye(x.shape[2])
    fitted = torch.linalg.solve(squares, torch.einsum("nld,nl->d", x, weight * left[train]))
    numbers = (scaled @ fitted * mask).numpy()
    return differences(numbers, made), predicted(numbers, made, True) + float(made.outcomes[train].mean())


def differences(numbers: Floats, made: Episodes) -> Floats:
    """Changes from turn to turn; the first from 0."""
    return np.diff(numbers, axis=1, prepend=0.0) * made.mask.numpy()


def predicted(numbers: Floats, made: Episodes, value: bool) -> Floats:
    """The last prediction, or the sum."""
    last = numbers[np.arange(len(numbers)), made.lengths.numpy() - 1]
    return last if value else numbers.sum(axis=1)


def fitted(made: Episodes, rng: torch.Generator) -> Iterator[tuple[str, Floats, Floats]]:
    """Name, contributions and predicted outcomes of each candidate, by fits that have not seen the episode's task."""
    names = sorted(set(made.tasks))
    order = torch.randperm(len(names), generator=rng).tolist()
    fold = torch.tensor([order[names.index(task)] % FOLDS for task in made.tasks])
    found: dict[str, tuple[Floats, Floats]] = {}
    for held in range(FOLDS):
        choose = (held + 1) % FOLDS
        report = (fold == held).nonzero()[:, 0]
        parts = Parts(((fold != held) & (fold != choose)).nonzero()[:, 0], (fold == choose).nonzero()[:, 0], report)
        results = {one.name: fit(one, made, parts, rng) for one in CANDIDATES}
        contributions, outcomes = results[CANDIDATES[0].name]
        mask = made.mask.numpy()
        mean = contributions[parts.train].sum(0) / np.maximum(mask[parts.train].sum(0), 1)
        results[CENTRED] = (contributions - mean) * mask, outcomes
        results[LINEAR] = linear(made, parts)
        features = hands(made.lengths.double().numpy(), made.timeouts)
        results["clock"] = np.zeros(mask.shape), clock(features, made.outcomes.double().numpy(), parts.train.numpy())
        for name, arrays in results.items():
            kept = found.setdefault(name, (np.zeros(mask.shape), np.zeros(len(mask))))
            for all_of_it, some in zip(kept, arrays, strict=True):
                all_of_it[report] = some[report]
    yield from ((name, *arrays) for name, arrays in found.items())


def measures(contributions: Floats, outcomes: Floats, made: Episodes) -> list[float]:
    """R2, by turn, rho, rho corrected, order; see the module."""
    truth, mask, lengths = made.outcomes.double().numpy(), made.mask.numpy(), made.lengths.numpy()
    r2 = 1 - ((outcomes - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    mean = contributions.sum(0) / np.maximum(mask.sum(0), 1)
    every = contributions[mask > 0]
    by_turn = ((mean - every.mean()) ** 2 * mask.sum(0)).sum() / max(((every - every.mean()) ** 2).sum(), 1e-12)
    own = [c[:n] for c, n in zip(contributions, lengths, strict=True)]
    lacking = [np.append(c[:-1], c[-1] + t - c.sum()) for c, t in zip(own, truth, strict=True)]
    return [r2, by_turn, rho(own, made.progress), rho(lacking, made.progress), order(contributions, truth, mask)]


def rho(contributions: Sequence[Floats], progress: Sequence[Floats]) -> float:
    """Mean rank correlation over the episodes in which progress varies; 0 for constant contributions."""
    pairs = [(c, p) for c, p in zip(contributions, progress, strict=True) if len(p) > 2 and np.ptp(p) > 1e-9]
    return float(np.mean([spearmanr(c, p)[0] if np.ptp(c) > 1e-12 else 0.0 for c, p in pairs]))


def order(contributions: Floats, outcomes: Floats, mask: Floats) -> float:
    """Share of pairs of a success and a failure at one turn in the right order of the sums so far; ties count half."""
    so_far, won = contributions.cumsum(axis=1), outcomes > 0.5
    gap = so_far[won][:, None] - so_far[~won][None]
    both = mask[won][:, None] * mask[~won][None]
    return float((((gap > 0) + 0.5 * (gap == 0)) * both).sum() / max(both.sum(), 1))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--fits", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=48)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[list[float]]] = {}
    for seed in map(int, given.seeds.split(",")):
        made = explored(seed, given.tasks)
        print(f"seed {seed}: {len(made.tasks)} episodes, {float(made.outcomes.mean()):.3f} mean outcome", flush=True)
        for number in range(given.fits):
            for name, contributions, outcomes in fitted(made, torch.Generator().manual_seed(1000 * seed + number)):
                found.setdefault(name, []).append(measures(contributions, outcomes, made))
    header = ("R2", "by turn", "rho", "corrected", "order")
    print("| candidate | " + " | ".join(header) + " |\n|---|" + "---:|" * len(header))
    for name in ["clock", *(name for name in found if name != "clock")]:
        table = np.array(found[name])
        spread = table.std(0, ddof=1) if len(table) > 1 else np.full(table.shape[1], np.nan)
        cells = [f"{m:.2f} ± {s:.2f}" for m, s in zip(table.mean(0), spread, strict=True)]
        print(f"| {name} | " + " | ".join(cells if name != "clock" else [cells[0], "", "", "", ""]) + " |")


if __name__ == "__main__":
    main()
