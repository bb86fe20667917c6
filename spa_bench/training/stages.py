"""The stages of one run, each resumable: common start -> fit the reward -> PPO iterations -> evaluation.

Read `Run.finish` first. What was done is in the run folder; an unfinished run goes on where the last complete
checkpoint and the recorded episodes end.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from spa_bench.config import RunConfig
from spa_bench.core import Agent, Floats, Trajectory, UserError, derive_seed
from spa_bench.manifest import content_hash
from spa_bench.method import RewardMethod
from spa_bench.rollout.branching import Grower, branches
from spa_bench.rollout.game import Request
from spa_bench.rollout.simulator import PlayedOn
from spa_bench.runs.collapse import said as collapsed
from spa_bench.runs.deadline import NEVER, Deadline
from spa_bench.runs.folder import RunFolder
from spa_bench.runs.names import reward_typed
from spa_bench.runs.progress import Progress
from spa_bench.training import checkpoint, collapse, held_out, metrics, ppo, pricing, ranks, sampling, soundness, start
from spa_bench.training.backbone import Tunable
from spa_bench.training.batches import Limit
from spa_bench.training.budget import Budget, least_steps, so_far
from spa_bench.training.checked_method import CheckedMethod
from spa_bench.training.collection import Collection
from spa_bench.training.demonstrator import Demonstrator
from spa_bench.training.learner import TOLERANCES, Learner, make_hindsight, make_policy, make_reference, restored
from spa_bench.training.memory import enough_memory
from spa_bench.training.policy import Policy
from spa_bench.training.prompting import longest_episode
from spa_bench.training.sharding import give_weights
from spa_bench.training.speed import Clock
from spa_bench.training.warm_episodes import evaluate, explore, read_episodes


class Run(Collection):
    """One run while it is under way."""

    def __init__(
        self,
        config: RunConfig,
        common: start.Start,
        method: RewardMethod,
        folder: RunFolder,
        progress: Progress,
        deadline: Deadline = NEVER,
    ) -> None:
        super().__init__(config, common, folder, progress)
        self.deadline, self.method = deadline, method
        self.checked = CheckedMethod(reward_typed(config.reward), method)
        self.policy_folder: Path | None = None
        self.broken = ""
        """Why no update of this iteration holds."""

    def finish(self) -> None:
        """All stages that are still to be done."""
        clock = Clock()
        policy_folder = start.warm_start(self.common, self.progress)
        self._look_at_clock("after the warm start")
        self._same_start(weights := weights_hash(policy_folder))
        self.stage("warm start", clock, weights=weights)
        explored = explore(self.common, policy_folder, self.progress)
        self._copy_panel(evaluate(self.common, policy_folder, self.progress))
        self.stage("explore", clock)
        self._look_at_clock("after exploration")

        learner, done = self.learner(policy_folder)
        episodes = [episode for episode in read_episodes(explored) if episode.steps]
        self.resumed = done + 1
        if done == 0:
            self._fit(episodes, learner, clock)
        self._train(self._budget(episodes), learner)
        self.play(learner.agent)
        self._price_held_out()
        self.folder.metrics.append({"kind": "done"})

    def _look_at_clock(self, place: str) -> None:
        ranks.on_first(lambda: self.deadline.check(place))

    def _same_start(self, weights: str) -> None:
        """Another version of a library or of our code makes another warm start; results are not comparable across."""
        rows, _ = self.folder.metrics.read()
        if {row["weights"] for row in rows if row.get("stage") == "warm start" and "weights" in row} - {weights}:
            raise UserError(
                f"{self.folder.path} began from another warm start, made by other code, other versions or another "
                "number of ranks: continue with those, or remove the folder to start again"
            )

    def _copy_panel(self, evaluated: Path) -> None:
        """Copy the warm start's episodes on the evaluation set, so that the run folder is complete."""
        have = self.recorded("warm_start", 0)
        for index, trajectory in enumerate(read_episodes(evaluated)):
            if index not in have:
                self.log(trajectory, "warm_start", 0, index)

    def learner(self, policy_folder: Path | None) -> tuple[Learner, int]:
        """What training changes, as of the last complete checkpoint, and the number of that (0: none).

        Without any it is the model in the folder of the warm start; None is the model as it is configured.
        """
        self.policy_folder = policy_folder
        adapted = self.config.model.adapter == "lora"
        frozen = None if adapted else make_policy(self.common, policy_folder)[1]
        latest = self.folder.latest_checkpoint()
        done, folder = latest if latest is not None else (0, None)
        agent, policy, trained, optimizer = self._restore(policy_folder, folder)
        if folder is not None:
            checkpoint.load_method(folder, self.checked)
        start_size = soundness.at_start(self.folder.metrics.read()[0], (policy if frozen is None else frozen).model)
        if reason := soundness.fault(start_size, policy.model, policy.value):  # saved by an earlier version
            raise ppo.TrainingError(f"checkpoint {done}: {reason}: remove {self.folder.path} to start again")
        reference = make_reference(self.common, policy if frozen is None else frozen)
        simulator = PlayedOn(self.common.player, cast(Agent, agent))
        backbone = Tunable(reference, self.config.warm_start.learning_rate)
        origin = policy_folder if adapted else None
        hindsight, demonstrator = make_hindsight(self.common, agent, policy), Demonstrator(self.common)
        self.method.encoder, self.method.backbone = reference.encode, backbone
        self.method.simulator, self.method.hindsight = simulator, hindsight
        self.method.demonstrator = demonstrator
        asked = simulator, backbone, hindsight, demonstrator
        return Learner(agent, policy, trained, optimizer, reference, *asked, start_size, origin), done

    def _restore(self, policy_folder: Path | None, folder: Path | None) -> tuple[Any, Policy, Policy, Any]:
        """Agent, policy, what is trained, and optimiser as of the checkpoint in `folder`; None is the warm start."""
        agent, policy, trained, optimizer, row = restored(self.common, policy_folder, folder)
        self._heal_metrics(row)
        return agent, policy, trained, optimizer

    def _go_back(self, learner: Learner) -> None:
        """To the last checkpoint, or the warm start."""
        latest = self.folder.latest_checkpoint()
        learner.take(*self._restore(self.policy_folder, None if latest is None else latest[1])[1:])

    def _heal_metrics(self, row: dict[str, Any] | None) -> None:
        """A kill between checkpoint and metrics loses the row there; the checkpoint kept a copy."""
        if row is not None and row not in self.folder.metrics.read()[0]:
            self.folder.metrics.append(row)

    def _fit(self, episodes: Sequence[Trajectory], learner: Learner, clock: Clock) -> None:
        self.checked.place = "before training"
        demonstrations: list[Trajectory] = []
        if self.method.uses_experts:
            demonstrations = start.demonstrations(self.common, learner.agent, len(episodes), self.progress)
        with self.progress.stage("fit reward", total=1) as stage:
            figures = ranks.on_first(lambda: self.checked.fit(episodes, demonstrations))
            stage.advance(1, **figures)
        self.stage("fit reward", clock, packed=learner.policy.packed, **learner.extra(), **figures)

    def _train(self, budget: Budget, learner: Learner) -> None:
        """The iterations that are still to be done. What is left of training is told from those of this process."""
        unit = "tokens" if self.config.ppo.match == "tokens" else "steps"
        with self.progress.stage("training", total=int(budget.total), unit=unit) as stage:
            stage.given(budget.used)
            broken = soundness.in_a_row(self.folder.metrics.read()[0])
            for iteration in itertools.count(self.resumed):
                if iteration > 1:  # what was fitted is saved with the first iteration
                    self._look_at_clock(f"after {self.title(iteration - 1)}")
                steps, self.left = budget.next(), budget.left
                if broken and (not steps or len(broken) >= soundness.MOST_BROKEN):
                    raise ppo.TrainingError(soundness.said(broken, iteration - 1, self.checked.name))
                if not steps or self._stopped(iteration - 1, learner):
                    break
                self._look(iteration - 1, learner)
                row = self._iterate(iteration, steps, learner)
                broken = [*broken, self.broken] if self.broken else []
                budget.add(row)
                stage.advance(budget.used - stage.done)

    def _stopped(self, iteration: int, learner: Learner) -> bool:
        """Whether training ends here, as `ppo.stop_on_collapse` asks for; the learner is then the last good one.

        Each iteration is measured before its update: the last policy that had not collapsed is that of two before.
        """
        if not self.config.ppo.stop_on_collapse:
            return False
        rows, _ = self.folder.metrics.read()
        row = next((row for row in rows if row.get("kind") == "stopped"), None)
        if row is None:
            done = {row["iteration"]: row for row in rows if row.get("kind") == "iteration"}
            if (reason := collapsed(done[number] for number in range(1, iteration + 1))) is None:
                return False
            row = {"kind": "stopped", "iteration": iteration, "kept": iteration - 2, "reason": reason}
            self.progress.note(f"iteration {iteration}: {reason}: training ends with the policy of {row['kept']}")
            self.folder.metrics.append(row)
        kept = row["kept"]
        ranks.on_first(lambda: self.folder.drop(after=kept))
        self._go_back(learner)
        return True

    def _look(self, iteration: int, learner: Learner) -> None:
        """Evaluate after this iteration, where `eval.every` or a budget says so; the last one's is every run's end."""
        every, named = self.config.eval.every, iteration * self.config.ppo.env_steps in self.config.eval.budgets
        if not iteration or not (named or (every and iteration % every == 0)):
            return
        rows, _ = self.folder.metrics.read() if iteration < self.resumed else ([], 0)
        if not any((row.get("kind"), row.get("iteration")) == ("evaluation", iteration) for row in rows):
            self.folder.metrics.append(self.look(learner.agent, iteration, record=named))

    def _budget(self, episodes: Sequence[Trajectory]) -> Budget:
        """What the run may still spend: all that is on record is counted."""
        steps = [step for trajectory in episodes for step in trajectory.steps]
        tokens = sum(len(step.tokens.reply) for step in steps if step.tokens is not None)
        least = least_steps(self.config.ppo.minibatches, self.common.env.max_steps, self.common.characters)
        budget = Budget(self.config.ppo, least, tokens_a_step=tokens / max(len(steps), 1))
        rows, _ = self.folder.metrics.read()
        # After a damaged checkpoint training goes on from an earlier one: what came behind that is done again.
        rows = [row for row in rows if (row.get("iteration") or 0) < self.resumed]
        done = {row["iteration"] for row in rows if row.get("kind") == "iteration"}
        fitted = self.resumed == 1 or any(row.get("stage") == "fit reward" for row in rows)
        if done != set(range(1, self.resumed)) or not fitted:
            raise UserError(
                f"{self.folder.metrics.path} is damaged and lacks what training would go on from: "
                f"move {self.folder.path} away to start again"
            )
        return so_far(budget, rows)

    def _iterate(self, iteration: int, steps: int, learner: Learner) -> dict[str, Any]:
        """One iteration, and its checkpoint."""
        row = self.iteration(iteration, steps, learner)
        moments = checkpoint.moments_of(learner.optimizer)

        def save() -> dict[str, Any]:
            with self.folder.checkpoint(iteration) as folder:
                checkpoint.save(
                    folder, learner.agent, learner.policy, moments, self.checked, row, origin=learner.origin
                )
            self.folder.metrics.append(row)
            self.folder.prune(keep=3 if self.config.ppo.stop_on_collapse else 1)
            return row

        return ranks.on_first(save)

    def iteration(self, iteration: int, steps: int, learner: Learner) -> dict[str, Any]:
        """Collect episodes, compute rewards, update; repeatedly while trees grow. Returns the row of metrics."""
        meter = learner.meter
        meter.begin()
        self.checked.place, self.broken = f"iteration {iteration}", ""
        if branches(self.method):
            trajectories, figures = self._learn_from_trees(iteration, steps, learner)
            executed = steps
        else:
            before = self.common.player.executed
            with meter.games():
                played, steps = self.collect(iteration, steps, learner)
            executed = self.common.player.executed - before
            trajectories = list(played.values())
            moved = sampling.learnt_from(played, again=self.config.ppo.dynamic_sampling)
            rewards, figures = self._learn(learner, [*moved.values()], iteration, self.config.ppo.minibatches)
            still = {index: np.zeros(0) for index, episode in played.items() if not episode.steps}
            self.record_prices(iteration, still | dict(zip(moved, rewards, strict=True)))
        if not figures["updates"] and not self.broken:
            self.broken = "no loss or gradient was finite, so there was no update"
        row: dict[str, Any] = {"kind": "iteration", "iteration": iteration}
        row |= meter.figures(executed, own=self.common.engine is None)
        row |= metrics.collected(trajectories) | figures | learner.extra()
        row |= {"env_steps_budget": steps, "env_steps_executed": executed}
        row |= {"weights_start": learner.start_size, "weights_size": soundness.size(learner.policy.model)}
        row |= {"broken": self.broken} if self.broken else {}
        return {
            name: value if not isinstance(value, float) or np.isfinite(value) else None for name, value in row.items()
        }

    @enough_memory("in the update", "lower ppo.microbatch, or set model.gradient_checkpointing=true")
    def _learn(
        self,
        learner: Learner,
        trajectories: Sequence[Trajectory],
        iteration: int,
        minibatches: int,
        *,
        part: int = 0,
        finished: Sequence[Trajectory] | None = None,
    ) -> tuple[list[Floats], dict[str, float]]:
        """Compute the rewards of new episodes and update the policy; `part` is how many minibatches came before."""
        if not trajectories:
            raise ppo.TrainingError(f"{self.checked.place}: no episode with a step ended; raise ppo.env_steps")
        learner.agent.release()
        constant = self.config.ppo.loss_constant or longest_episode(self.config, self.common.env.max_steps)
        settings = self.config.ppo.model_copy(update={"minibatches": minibatches, "loss_constant": constant})
        tolerance = TOLERANCES[self.common.dtype]
        with learner.meter.part("pricing"):
            priced = pricing.price(
                self.checked, learner.policy, learner.reference, trajectories, settings,
                sampler_tolerance=tolerance["sampler"], finished=finished,
            )  # fmt: skip
            crossed = None if part else collapse.mutual_information(learner.policy, trajectories, Limit.of(settings))
        if (iteration, part) == (1, 0) and priced.figures["largest_log_ratio_to_start"] > tolerance["kl"]:
            raise ppo.TrainingError(
                f"the KL to the warm start is not 0 before the first update (a log-prob differs by "
                f"{priced.figures['largest_log_ratio_to_start']:.2g}): the policy is not the warm start"
            )
        rng = np.random.default_rng(derive_seed(self.config.seed, "minibatches", iteration, *([part] if part else [])))
        done = settings.epochs * ((iteration - 1) * self.config.ppo.minibatches + part)
        with learner.meter.part("update"):
            figures = ppo.update(
                learner.trained, learner.optimizer, priced.samples, settings, rng=rng, done=done,
                kl_in_loss=not self.method.kl_in_reward, ratio_tolerance=tolerance["ratio"],
            )  # fmt: skip
            give_weights(learner.trained, learner.policy)
        if reason := soundness.fault(learner.start_size, learner.policy.model, learner.policy.value):
            figures = self._take_back(learner, figures, reason)
        learner.meter.learned(figures, sum(len(sample.old_logprobs) for sample in priced.samples), settings.epochs)
        informed = {} if crossed is None else {"mutual_information": crossed}
        return priced.rewards, priced.figures | informed | figures

    def _take_back(self, learner: Learner, figures: dict[str, float], reason: str) -> dict[str, float]:
        """Back to the last checkpoint, or the warm start: none of the update's steps counts."""
        self.broken = reason
        self.progress.note(f"{self.checked.place}: {reason}; taken back")
        self._go_back(learner)
        return figures | {"updates": 0.0, "skipped": figures["skipped"] + figures["updates"]}

    def _learn_from_trees(
        self, iteration: int, steps: int, learner: Learner
    ) -> tuple[list[Trajectory], dict[str, float]]:
        """Episodes that the method steers; the policy learns when they are over, or in parts while they are played."""
        settings = self.config.ppo
        if ranks.size() > 1:
            raise UserError(f"reward {self.checked.name} branches: run it without accelerate launch")
        if settings.dynamic_sampling:
            raise UserError(f"reward {self.checked.name} branches: set ppo.dynamic_sampling=false")
        if self.common.characters > 1:
            raise UserError(f"reward {self.checked.name} branches: set world.options.characters=1")
        if self.method.updates_between_steps and self.method.uses_critic:
            raise UserError(
                f"reward {self.checked.name} learns between steps: write advantages, with uses_critic = False"
            )
        games = self.games(iteration, 1)
        grower = Grower(
            (Request(index, task, seed) for index, (task, seed) in enumerate(games)),
            self.common.player.worlds(settings.trees),
            cast(Agent, learner.agent),
            self.checked.branch,
            self.checked.rewards,
            wanted=settings.samples,
            replace=self.common.player.replace,
        )
        harvests = settings.minibatches if self.method.updates_between_steps else 1
        parts, prices, part = [], dict[int, list[Floats]](), 0
        with self.progress.stage(self.title(iteration), total=steps, unit="steps") as stage:
            for harvest in learner.meter.played(grower.harvests(steps, harvests)):
                stage.advance(grower.spent - stage.done, finished=len(harvest.finished))
                # A critic does not know what comes after an episode that is still under way.
                news = {
                    number: t
                    for number, t in zip(harvest.numbers, harvest.news, strict=True)
                    if not self.method.uses_critic or t.terminated or t.truncated
                }
                minibatches = harvest.parts * settings.minibatches // harvests
                done = [episode for episode in harvest.finished if episode.steps]
                learnt = [*news.values()]
                rewards, figures = self._learn(learner, learnt, iteration, minibatches, part=part, finished=done)
                part += minibatches
                parts.append(figures)
                for number, earned in zip(news, rewards, strict=True):
                    prices.setdefault(number, []).append(earned)
        grown = grower.records()
        have = {row["index"] for row in self._rows("train", iteration)} if iteration == self.resumed else set()
        for number, parent, trajectory in grown:
            if number not in have:
                self.log(trajectory, "train", iteration, number, parent=parent)
        won = {number: np.zeros(0) for number, _, trajectory in grown if not trajectory.steps}
        self.record_prices(iteration, won | {number: np.concatenate(earned) for number, earned in prices.items()})
        return [trajectory for _, _, trajectory in grown], metrics.merged(parts)

    def _price_held_out(self) -> None:
        """Record what the method would assign on the evaluation set; an error in it costs these rewards alone."""
        self.checked.place = "held-out episodes"
        for stage in ("warm_start", "eval"):
            episodes = dict(sorted(self.recorded(stage, 0).items())[: self.config.eval.rewards])
            prices, reason = ranks.on_first(partial(held_out.assigned, self.checked, episodes))
            self.record_prices(0, dict(prices), stage)
            if reason:
                self.progress.note(f"{self.checked.name}: rewards of held-out episodes are not recorded: {reason}")
                return


def weights_hash(folder: Path) -> str:
    """sha256 over the saved weights: equal for all methods of one comparison."""
    return content_hash(sorted(folder.rglob("*.safetensors")))
