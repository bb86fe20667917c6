"""The configuration of one run: typed, complete, refused where it is wrong.

A run is repeated from these fields alone, so nothing that changes a result may live anywhere else. Where a number
comes from a paper or from a measurement, the description says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from spa_bench.core import UserError
from spa_bench.method import Level
from spa_bench.setting_errors import refused

EMBEDDED = "embedded"
"""Name of the model that is made on the spot."""

SMOLLM2 = "smollm2"
"""Name of the chat model that `spa-bench data get smollm2` puts into the data cache."""


CHAT_API: Literal["chat-api"] = "chat-api"
"""Name of the engine that gives text and no tokens."""


OUTSIDE = (VLLM := "vllm", SERVER := "server")
"""Engines with weights of their own."""


Optimiser = Literal["ppo", "grpo", "dapo", "gspo", "dr-grpo", "turn-ppo", "cispo"]


class Section(BaseModel):
    """A frozen group of settings that knows no other keys and no number that is infinite or none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True)


class WorldConfig(Section):
    """The tasks and their environment."""

    tasks: Literal["builtin", "official"] = Field("builtin", description="generated tasks, or official data in `data`")
    data: str | None = Field(None, description="folder of official data; default: the data cache")
    max_steps: int | None = Field(None, ge=1, description="episode limit; default: the world's own for these tasks")
    train_tasks: int | None = Field(None, ge=1, description="use only the first N train tasks of a fixed shuffle")
    options: dict[str, Any] = Field(default_factory=dict, description="further arguments of the world's constructor")

    def arguments(self) -> dict[str, Any]:
        """What the world's constructor is called with: what is set, as a world need not have each of these."""
        tasks = None if self.tasks == "builtin" else self.tasks
        given = {"tasks": tasks, "data": self.data, "max_steps": self.max_steps}
        return {key: value for key, value in given.items() if value is not None} | self.options


class ModelConfig(Section):
    """The policy."""

    name: str = Field(
        EMBEDDED, description="`embedded`, `smollm2`, a folder or a Hub id, such as Qwen/Qwen2.5-1.5B-Instruct"
    )
    prompt: Literal["auto", "action", "react", "verl-agent", "eto", "spa", "code-fence"] = Field(
        "auto", description="reply format, see docs/agents.md; auto: `action` for the embedded model, else `react`"
    )
    examples: int | None = Field(
        None, ge=0, le=2, description="worked examples by the expert; default: embedded and verl-agent 0, else 1"
    )
    memory: Annotated[int, Field(ge=0)] | Literal["auto", "all"] = Field(
        "auto", description="turns that a reply is shown; auto: verl-agent 2 (as verl-agent), else all of them"
    )
    admissible: bool | None = Field(
        None, description="list the commands that work now; default: verl-agent, where it has a memory"
    )
    repeat_form: bool | None = Field(
        None,
        description="answer a reply without a command with the form of a reply; default: not for the embedded model, "
        "the forms of others (verl-agent, eto, spa) and published protocols",
    )
    hidden: int = Field(128, ge=8, description="width of the embedded model")
    layers: int = Field(2, ge=1, description="depth of the embedded model")
    heads: int = Field(
        4, ge=1, validate_default=True, description="attention heads of the embedded model; each has an even width"
    )
    tokens: Literal["words", "names"] = Field(
        "names",
        description="of the embedded model: words and numbers, `names`: a name with its number (`shelf 1`) is one. "
        "After the warm start, words and names: ALFWorld 23 and 33 %, VirtualHome 17 and 24 % success (one seed)",
    )
    context: int | None = Field(
        None,
        ge=64,
        description="longest sequence, in tokens; older turns are dropped beyond it. Default: embedded 2048, else the "
        "model's own up to 8192",
    )
    history: Literal["auto", "sampled", "template"] = Field(
        "auto",
        description="past replies as sampled, or as the chat template rewrites them; auto: `template` for the embedded "
        "model, whose template rewrites nothing, else `sampled`",
    )
    thinking: bool | None = Field(
        None, description="`enable_thinking` of chat templates that have it (Qwen3); default: the template's own"
    )
    max_new_tokens: int | None = Field(None, ge=1, description="longest reply; default: action 16, react 256")
    engine: Literal["transformers", "vllm", "server", "chat-api"] = Field(
        "transformers", description="what samples the replies, see docs/agents.md; `chat-api` for `eval` only"
    )
    engine_options: dict[str, Any] = Field(default_factory=dict, description="arguments of the engine's constructor")
    device: Literal["auto", "cpu", "cuda"] | Annotated[str, Field(pattern=r"^cuda:\d{1,3}$")] = Field(
        "auto", description="auto: a CUDA device where torch sees one; one of several GPUs is `cuda:1`"
    )
    dtype: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="weights of policy, sampler and reference; auto: fp32 for the embedded model, else bf16 on CUDA "
        "and on CPUs with units for it (AMX, AVX-512 BF16); a policy in bf16 is trained on fp32 copies of its weights",
    )
    cache_bytes: int = Field(
        8 * 2**30,
        ge=1,
        description="of the keys and values of all live games: fewer than `batch` games are live where they would take "
        "more at full context; freed before each update",
    )
    gradient_checkpointing: Literal["auto"] | bool = Field(
        "auto",
        description="keep only each layer's input for the backward pass, and compute the rest again: about a third "
        "slower, a fraction of the memory; auto: not for the embedded model",
    )
    adapter: Literal["none", "lora"] = Field(
        "none",
        description="what is trained: all weights, or a LoRA adapter beside them (`pip install spa-bench[lora]`)",
    )
    lora_rank: int = Field(16, ge=1, description="of the adapter; Hu et al. 2022: 1 to 64")
    lora_alpha: int = Field(
        32, ge=1, description="the adapter's product counts alpha / rank times (Schulman et al. 2025: 32)"
    )
    lora_targets: str = Field(
        "all-linear",
        description="layers with an adapter: all linear ones but the output layer (Dettmers et al. 2023, Schulman et "
        "al. 2025), or names such as `q_proj,v_proj`. Without dropout: what is sampled is what is trained",
    )
    threads: int = Field(
        2,
        ge=1,
        description="torch threads. Two train 1.7 times as fast as one on two idle cores, 1.2 times on a busy one",
    )

    @field_validator("heads")
    @classmethod
    def _even_width(cls, heads: int, info: ValidationInfo) -> int:
        """Rotary embeddings rotate pairs of numbers. Checked for every model; only the embedded one uses it."""
        hidden = info.data.get("hidden", 2 * heads)  # absent where it is wrong itself
        if hidden % (2 * heads):
            raise PydanticCustomError("heads", f"must divide model.hidden={hidden} into parts of an even width")
        return heads


class WarmStartConfig(Section):
    """Behaviour cloning on expert episodes (TRL's SFTTrainer, assistant tokens only)."""

    episodes: int = Field(3200, ge=1, description="expert demonstrations, cycling through the train tasks")
    slip: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="share of expert turns with an error, to show recovery (DART); .05: 45 % success, 0: 44 %",
    )
    epochs: float = Field(1.0, gt=0, description="passes over them; generated tasks are many: one (SPA: 3)")
    learning_rate: float = Field(3e-3, gt=0, description="peak rate of AdamW")
    batch: int = Field(8, ge=1, description="sequences per optimiser step; 8 learns faster than SPA's 16 here")
    warmup: float = Field(0.03, ge=0, le=1, description="share of steps with rising rate (SPA: .03)")
    beta2: float = Field(
        0.95, gt=0, lt=1, description="of AdamW; short runs of small batches learn faster than with .999"
    )


class ExploreConfig(Section):
    """Episodes of the warm start that reward methods learn from."""

    tasks: int = Field(48, ge=1, description="train tasks explored")
    samples: int = Field(4, ge=1, description="episodes per task (SPA: 10)")


class PPOConfig(Section):
    """Proximal policy optimisation over turns or tokens."""

    optimiser: Optimiser = Field(
        "ppo", description="which of the presets below the settings of this section begin with (docs/optimisers.md)"
    )
    iterations: int = Field(6, ge=0, description="times that the policy plays and is updated")
    env_steps: int = Field(
        3000, ge=1, description="environment steps per iteration; times `iterations`: the training budget"
    )
    match: Literal["collected", "env-steps", "tokens"] = Field(
        "collected",
        description="the training budget: env steps collected, or all env steps or sampled tokens, overhead too",
    )
    trees: int = Field(16, ge=1, description="tasks played in parallel by methods that branch (3SPO: 16)")
    samples: int = Field(
        4, ge=1, description="episodes per task, the group size (GiGPO and 3SPO, with ten times the steps: 8)"
    )
    epochs: int = Field(1, ge=1, description="passes over each iteration's episodes (SPA: 1)")
    minibatches: int = Field(8, ge=1, description="optimiser steps per pass (cleanrl: 4 in each of 4 passes)")
    microbatch: int = Field(
        262_144,
        ge=1,
        description="tokens computed per forward pass, padding too; gradients accumulate over a minibatch; "
        "the embedded model is bounded by `microbatch_episodes`",
    )
    microbatch_episodes: int = Field(16, ge=1, description="episodes per forward pass")
    learning_rate: float = Field(5e-4, gt=0, description="peak rate of AdamW")
    warmup: int = Field(
        16,
        ge=0,
        description="optimiser steps with rising rates: at 1e-3, 40 % sampled success after one iteration, else 30",
    )
    value_learning_rate: float = Field(6e-3, gt=0, description="rate of the value head, in units of `value_scale`")
    value_scale: Literal["returns", "none"] = Field(
        "returns",
        description="unit in which the value head learns: the root mean square of an iteration's returns, so that it "
        "learns large rewards as fast as small ones; `none`: that of the reward, as before there was a choice",
    )
    ratio: Literal["token", "turn", "sequence"] = Field(
        "token", description="whose probability a ratio is of; turn and sequence: the geometric mean of their tokens"
    )
    clip: float = Field(0.2, gt=0, description="of the ratio of probabilities, below 1, and above it too by default")
    clip_high: float | None = Field(None, gt=0, description="of the ratio above 1; default: as `clip`")
    objective: Literal["clip", "cispo"] = Field(
        "clip", description="clipped gain, or log-prob times advantage weighted by the clipped ratio (CISPO)"
    )
    loss_mean: Literal["tokens", "sequences", "constant"] = Field(
        "tokens",
        description="what the sums over a minibatch are divided by: its tokens; its sequences, each the mean of its "
        "tokens; its episodes times `loss_constant`",
    )
    loss_constant: int | None = Field(
        None, ge=1, description="tokens that an episode counts as; default: `model.max_new_tokens` times the step limit"
    )
    advantage_scale: Literal["batch", "group", "none"] = Field(
        "batch",
        description="over what advantages are scaled to 1, and centred where there is a critic: an iteration's "
        "episodes, those of one task, nothing",
    )
    dynamic_sampling: bool = Field(
        False,
        description="tasks whose episodes all have the same outcome are left out of the update and others are drawn "
        "in their place, up to three times; their steps count",
    )
    stop_on_collapse: bool = Field(
        False,
        description="end training where the policy has collapsed: half of its replies repeat the one before, or they "
        "hardly depend on the prompt; what is evaluated is the policy before",
    )
    entropy_coef: float = Field(0.0, ge=0, description="weight of the entropy bonus")
    kl_coef: float = Field(0.05, ge=0, description="weight of the KL to the warm start")
    max_grad_norm: float = Field(1.0, gt=0, description="longer gradients are scaled down to it")
    gamma: float = Field(1.0, gt=0, le=1, description="1 keeps every return-equivalent reward equivalent")
    lam: float = Field(0.95, ge=0, le=1, description="lambda of GAE")
    level: Level | None = Field(None, description="credit per `turn` or per `token`; default: the method's own")
    temperature: float = Field(1.0, gt=0, description="of sampling while training (SPA explores at 1)")


class EvalConfig(Section):
    """The evaluation set, each task played exactly once."""

    set: Literal["quick", "study", "full"] = Field(
        "quick",
        description="built-in held-out tasks: 100; of 2,500 the first 500 of a fixed shuffle; all. Stands for "
        "`world.options` and `eval.tasks`",
    )
    split: Literal["valid_seen", "valid_unseen"] = Field(
        "valid_unseen", description="held-out tasks; in ALFWorld `valid_seen` has the rooms of train tasks"
    )
    tasks: int | None = Field(None, ge=1, description="the first N of a fixed shuffle; default: the whole split")
    temperature: float = Field(0.0, ge=0, description="0: greedy (SPA evaluates at 0)")
    every: int = Field(
        0,
        ge=0,
        description="play it after every N iterations too, for learning curves; 0: before and after training only. "
        "Training does not change by it, and what it costs is recorded apart from the training budget",
    )
    budgets: list[Annotated[int, Field(ge=1)]] = Field(
        [],
        description="training budgets, in environment steps collected: play it when each is reached, and record every "
        "episode, so that tables can be made at that budget. Training does not change by it",
    )
    rewards: int | None = Field(
        None,
        ge=0,
        description="record the rewards that the method would assign on the first N of its episodes, which are only "
        "shown; default: of all of them",
    )

    def played(self) -> dict[str, Any]:
        """What an evaluation depends on: all but what is only shown, and a name for the rest."""
        return self.model_dump(exclude={*SHOWN, *NAMED})


NAMED = ("set",)
"""Settings of the section `eval` that stand for others, which decide results in their place."""

SHOWN = ("every", "budgets", "rewards")
"""Settings of the section `eval` that change what is on record, and no result."""


class LimitsConfig(Section):
    """Seconds that one call of a plug-in may last, 0 for any time; without what a method asks of the trainer meanwhile.

    No part of a run's identity: a call that is interrupted has no result.
    """

    reset: float = Field(
        300.0, ge=0, description="of an environment: making it, its tasks, its reset, a return to a snapshot"
    )
    step: float = Field(60.0, ge=0, description="of an environment: its step, a snapshot, the expert's next action")
    fit: float = Field(4 * 3600.0, ge=0, description="of a method's fit")
    price: float = Field(3600.0, ge=0, description="of a method's other functions, for one group of episodes")


class CollectConfig(Section):
    """How games are played with a server's replies; no part of a run's identity, as episodes are the same."""

    async_: bool = Field(
        False,
        alias="async",  # a word of Python
        description="no game waits for another's reply; for the engines `server` and `chat-api`",
    )


class RunConfig(Section):
    """Everything that decides the result of `spa-bench run`."""

    env: str = Field(description="world; in a file for `compare` a list of them, too")
    reward: str = Field(description="reward method; in a file for `compare` a list of them, with options, too")
    reward_options: dict[str, Any] = Field(default_factory=dict, description="arguments of the method's constructor")
    seed: int = Field(0, ge=0, description="all chance of a run comes from it; `compare` has `seeds`")
    batch: int = Field(256, ge=1, description="parallel episodes; changes speed, not results")
    world: WorldConfig = Field(default_factory=lambda: WorldConfig())
    model: ModelConfig = Field(default_factory=lambda: ModelConfig())
    warm_start: WarmStartConfig = Field(default_factory=lambda: WarmStartConfig())
    explore: ExploreConfig = Field(default_factory=lambda: ExploreConfig())
    ppo: PPOConfig = Field(default_factory=lambda: PPOConfig())
    eval: EvalConfig = Field(default_factory=lambda: EvalConfig())
    limits: LimitsConfig = Field(default_factory=lambda: LimitsConfig())
    collect: CollectConfig = Field(default_factory=lambda: CollectConfig())


def build(values: Mapping[str, Any]) -> RunConfig:
    """Validate nested values; raises UserError with one line that names the key and the closest known one."""
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(refused(error.errors(), known_keys())) from None
    if config.collect.async_ and config.model.engine not in (SERVER, CHAT_API):
        raise UserError(
            f"collect.async=true: model.engine={config.model.engine} samples in this process, all replies at once: set "
            "model.engine=server, or leave collect.async out"
        )
    _check_budgets(config.eval.budgets, config.ppo)
    return config


def _check_budgets(budgets: Sequence[int], ppo: PPOConfig) -> None:
    """Refuse budgets at which no iteration ends, or that training does not reach."""
    size, total = ppo.env_steps, ppo.iterations * ppo.env_steps
    if budgets and (ppo.match != "collected" or ppo.dynamic_sampling):
        raise UserError("budgets need iterations of one length: set ppo.match=collected and ppo.dynamic_sampling=false")
    if wrong := next((budget for budget in budgets if budget % size), 0):
        near = " or ".join(str(size * times) for times in (wrong // size, wrong // size + 1) if times)
        raise UserError(f"no iteration of ppo.env_steps={size} ends at a budget of {wrong} env steps: use {near}")
    if list(budgets) != sorted(set(budgets)) or max(budgets, default=0) > total:
        raise UserError(f"eval.budgets {list(budgets)} must rise, up to what training collects: {total} env steps")


def typed(kind: type[Section]) -> dict[str, FieldInfo]:
    """The fields of a section by their names as settings."""
    return {field.alias or name: field for name, field in kind.model_fields.items()}


def known_keys() -> list[str]:
    """Every setting as `section.key`, in the order of the reference; `section.*` where any key may stand."""
    found = []
    for name, field in RunConfig.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            found += [f"{name}.{key}" for key in typed(kind)]
        else:
            found.append(f"{name}.*" if name == "reward_options" else name)
    return found
