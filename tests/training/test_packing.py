"""Packed rows: scores, gradients and steps are those of padded ones; and which models can have them."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from strategies import max_examples
from tiny import SETTINGS, config, language_model
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from spa_bench.config import ModelConfig, PPOConfig, WarmStartConfig
from spa_bench.runs.progress import Progress
from spa_bench.training import adapter, learner, packing, ppo, pricing, start, warm_start
from spa_bench.training.batches import Limit, Sequences, microbatches, side_by_side, tokens_computed
from spa_bench.training.packing import NAME, Reads, Unsupported, prepare
from spa_bench.training.policy import Policy
from spa_bench.training.prefixes import LEAST, lay_out

SMALL = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2,
    "num_hidden_layers": 2, "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "initializer_range": 0.2,
}  # fmt: skip
"""Wide weights: what a token attends to then shows in everything."""

KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {"tie_word_embeddings": True}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 12}),
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": None}),
    "phi3": (Phi3ForCausalLM, Phi3Config, {}),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig, {"head_dim": 8, "sliding_window": 512}),
}


def model_of(kind: str, **changes: Any) -> Any:
    maker, config, more = KINDS[kind]
    torch.manual_seed(0)
    return maker(config(**(SMALL | more | changes))).eval()


def episode(rng: np.random.Generator, beginnings: list[np.ndarray], sampled: int = 4) -> Sequences:
    """A sequence for each beginning, with up to ten random ids behind it; of each some are sampled, one of them its
    first behind what others share.
    """
    ids = [np.concatenate([one, rng.integers(5, 90, rng.integers(1, 11))]) for one in beginnings]
    where = []
    for number, (own, beginning) in enumerate(zip(ids, beginnings, strict=True)):
        drawn = rng.choice(np.arange(1, len(own)), size=min(sampled, len(own) - 1), replace=False)
        places = sorted({*drawn.tolist(), max(1, len(beginning))} - {len(own)})
        where += [(number, place) for place in places]
    numbers = np.array(where, dtype=np.int64).reshape(-1, 2)
    return Sequences(tuple(ids), numbers, np.bincount(numbers[:, 0], minlength=len(ids)))


@st.composite
def batches(draw: st.DrawFn) -> list[Sequences]:
    """Episodes of one to three sequences, which begin with nothing, a part or all of the same tokens."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    long = rng.integers(5, 90, LEAST + 40)
    lengths = st.sampled_from([0, 1, LEAST - 1, LEAST, LEAST + 1, LEAST + 20, LEAST + 40])
    beginnings = draw(st.lists(st.lists(lengths, min_size=1, max_size=3), min_size=1, max_size=4))
    found = [episode(rng, [long[:n] for n in own]) for own in beginnings]
    return [*found, found[0]] if draw(st.booleans()) else found


def judged(policy: Policy, episodes: list[Sequences]) -> dict[str, torch.Tensor]:
    """Scores, states and gradients."""
    torch.manual_seed(1)
    torch.nn.init.normal_(policy.value.weight)
    policy.zero_grad()
    scores = policy(episodes, entropy_graph=True)
    (scores.logprobs.square().mean() + scores.entropy.mean() + scores.values.square().mean()).backward()
    found = {name: value.detach() for name, value in vars(scores).items()}
    found["hidden"] = policy.hidden(episodes).detach()
    return found | {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        scale = max(1.0, float(value.abs().max()))
        torch.testing.assert_close(other[name] / scale, value / scale, atol=2e-5, rtol=1e-3, msg=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("lora", "recompute"), [(False, False), (True, True)])
def test_t14_packed_rows_are_scored_as_padded_ones(kind: str, lora: bool, recompute: bool) -> None:
    """Log-probs, entropies, values, states and gradients of random batches; with LoRA of the adapter, and the
    reference is the same network without it.
    """
    plain = model_of(kind)
    if lora:
        adapter.attach(plain, ModelConfig(adapter="lora", lora_rank=2), seed=0)
        with torch.no_grad():
            for name, weight in adapter.weights(plain).items():
                weight.normal_(std=0.3) if adapter.is_b(name) else None
    model = copy.deepcopy(plain)
    assert prepare(model, 256)
    padded, packed = Policy(plain), Policy(model, recompute=recompute, packed=True)

    @given(batches())
    @max_examples(8, HealthCheck.data_too_large)
    def agree(episodes: list[Sequences]) -> None:
        same(judged(padded, episodes), judged(packed, episodes))
        if lora:
            with torch.no_grad():
                bare = [Policy(p.model, bare=True, packed=p.packed)(episodes).logprobs for p in (padded, packed)]
            torch.testing.assert_close(*bare, atol=1e-4, rtol=1e-3)
            assert (bare[0] - padded(episodes).logprobs).abs().max() > 0.01

    agree()


def rows(model: Any, sequences: list[np.ndarray], least: int = 1) -> list[torch.Tensor]:
    """The states of each sequence in a packed row."""
    row = lay_out(sequences, least)
    reads = Reads(row.segments, torch.device("cpu"))
    ids, positions = torch.from_numpy(row.ids)[None], torch.from_numpy(row.positions)[None]
    with torch.no_grad():
        found = model.base_model(use_cache=False, **packing.packed_inputs(ids, positions, reads)).last_hidden_state[0]
    return [found[torch.from_numpy(places)] for places in row.places]


def test_no_sequence_sees_another_and_each_sees_all_of_its_own() -> None:
    """Whatever stands beside `one`, its states are the same; with another shared token they are not."""
    model = model_of("qwen2")
    assert prepare(model, 64)
    one = np.array([5, 6, 7, 8, 9])
    (alone,) = rows(model, [one])
    for other in ([10, 11, 12], [5, 6, 30, 31], [5, 6, 7, 8, 9, 40], [5], [5, 6, 7, 8, 9]):
        found = rows(model, [np.array(other), one])[1]
        torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-4)
    changed = rows(model, [np.array([50, 6, 30]), np.array([50, 6, 7, 8, 9])])[1]
    assert ((changed - alone).abs().amax(dim=1) > 1e-2).all()


def test_attention_by_hand() -> None:
    """One head of one number, all queries 0, so that each token has the mean of the values that it may see.

    A row of 1 2 | 3 | 4 5, the last two behind 1 2 each, and 6 alone: means of 1, 1 2, 1 2 3, 1 2 4, 1 2 4 5, 6.
    """
    row = lay_out([np.array([1, 2, 3]), np.array([1, 2, 4, 5]), np.array([6])], least=2)
    values = torch.from_numpy(row.ids).float().reshape(1, 1, -1, 1)
    zero = torch.zeros_like(values)
    reads = Reads(row.segments, torch.device("cpu"))
    found, _ = packing.attention(torch.nn.Identity(), zero, zero, values, None, segments=reads, scaling=1.0)
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([1.0, 1.5, 2.0, 7 / 3, 3.0, 6.0]))


def by_loops(query: Any, key: Any, value: Any, own: Any, read: Any, *_: int, scale: float, **given: Any) -> Any:
    """What `varlen_attn` of torch does, as its documentation has it: (T, heads, D), causal at the lower right."""
    assert given == {"window_size": (-1, 0), "enable_gqa": True}
    out = torch.zeros_like(query)
    group = query.shape[1] // key.shape[1]
    for n in range(len(own) - 1):
        ahead = (read[n + 1] - read[n]) - (own[n + 1] - own[n])
        for t in range(int(own[n + 1] - own[n])):
            seen = slice(int(read[n]), int(read[n] + ahead + t + 1))
            for head in range(query.shape[1]):
                scores = key[seen, head // group] @ query[own[n] + t, head] * scale
                out[own[n] + t, head] = scores.softmax(0) @ value[seen, head // group]
    return out


def test_the_kernel_for_sequences_of_any_length_is_given_the_same_row() -> None:
    rng = np.random.default_rng(0)
    row = lay_out([rng.integers(0, 2, n) for n in (9, 4, 12, 7, 9)], least=1)
    assert max(len(segment.past) for segment in row.segments) > 1
    reads = Reads(row.segments, torch.device("cpu"))
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, heads, len(row.ids), 6) for heads in (4, 2, 2))
    want, _ = packing.attention(torch.nn.Identity(), query, key, value, None, segments=reads, scaling=0.3)
    got = packing._by_kernel(by_loops, query[0], key[0], value[0], reads, 0.3)
    torch.testing.assert_close(got[None], want, atol=1e-5, rtol=1e-4)


# Which models


@pytest.mark.parametrize("kind", KINDS)
def test_a_prepared_model_computes_all_else_as_before_and_is_saved_as_before(kind: str) -> None:
    plain, model = model_of(kind), model_of(kind)
    assert prepare(model, 256) and prepare(model, 256)
    ids = torch.arange(5, 35).reshape(2, 15)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    for more in ({}, {"attention_mask": mask}):
        with torch.no_grad():
            one, other = (m(input_ids=ids, use_cache=False, **more).logits for m in (plain, model))
        assert torch.equal(one, other)
    assert model.config.to_dict() == plain.config.to_dict()
    assert NAME not in model.config.to_json_string()


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        (lambda: model_of("mistral", sliding_window=64), {64: True, 65: False}),
        (lambda: model_of("gemma3", sliding_window=64), {64: True, 65: False}),
        (lambda: model_of("llama", attention_dropout=0.1), {64: False}),
        (lambda: model_of("llama", attn_implementation="eager"), {64: False}),
        (lambda: Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=8)), {64: False}),
    ],
    ids=["window", "some layers with a window", "dropout", "eager", "soft caps"],
)
def test_a_model_whose_attention_is_more_than_causal_is_not_taken(model: Any, taken: dict[int, bool]) -> None:
    for context, want in taken.items():
        own = model()
        before = own.config._attn_implementation
        assert prepare(own, context) == want
        assert own.config._attn_implementation == (NAME if want else before)


class Deaf(LlamaForCausalLM):
    """Its layers are not told of segments."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        for layer in self.model.layers:
            own = layer.self_attn.forward
            layer.self_attn.forward = lambda *args, own=own, segments=None, **given: own(*args, **given)


def test_a_model_that_does_not_hand_the_segments_on_is_not_taken() -> None:
    torch.manual_seed(0)
    assert not prepare(Deaf(LlamaConfig(**SMALL)).eval(), 64)


@pytest.mark.parametrize("more", [{"softcap": 50.0}, {"s_aux": torch.ones(1)}, {"dropout": 0.1}, {"sliding_window": 2}])
def test_attention_that_a_row_cannot_have_is_refused_when_it_is_asked_for(more: dict[str, Any]) -> None:
    row = lay_out([np.array([1, 2, 3])])
    reads = Reads(row.segments, torch.device("cpu"))
    same = torch.zeros(1, 1, 3, 1)
    with pytest.raises(Unsupported):
        packing.attention(torch.nn.Identity(), same, same, same, None, segments=reads, scaling=1.0, **more)


def test_a_run_of_a_saved_model_reads_packed_rows_in_all_of_training_and_the_embedded_one_in_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    language_model(context=4096).save(tmp_path / "model")
    seen: list[bool] = []
    clone = warm_start.clone

    def noted(*given: Any, packed: bool, **more: Any) -> Any:
        seen.append(packed)
        return clone(*given, packed=packed, **more)

    monkeypatch.setattr(warm_start, "clone", noted)
    for name, want in ((str(tmp_path / "model"), True), ("embedded", False)):
        own = SETTINGS["model"] | {"name": name, "prompt": "action", "context": 4096}
        common = start.begin(config(model=own, warm_start={"episodes": 2, "epochs": 1}))
        _, policy = learner.make_policy(common, start.warm_start(common, Progress.quiet()))
        assert (seen.pop(), policy.packed, learner.make_reference(common, policy).policy.packed) == (want,) * 3
        lora = common.config.model.model_copy(update={"adapter": "lora"})
        common.config = common.config.model_copy(update={"model": lora})
        assert learner.make_reference(common, policy).policy.packed == want


# Passes and steps


@given(batches(), st.integers(1, 400), st.integers(1, 3))
@max_examples(50)
def test_a_pass_holds_as_many_tokens_as_it_may_and_those_are_counted(
    episodes: list[Sequences], tokens: int, most: int
) -> None:
    groups = list(microbatches(episodes, Limit(tokens, most), packed=True))
    assert sorted(i for group in groups for i in group) == list(range(len(episodes)))
    for group in groups:
        own = [episodes[i] for i in group]
        computed = tokens_computed(own, packed=True)
        assert side_by_side(own).ids.shape == (1, computed)
        assert len(group) == 1 or (computed <= tokens and len(group) <= most)
    for one, two in itertools.pairwise(groups):
        fuller = [episodes[i] for i in [*one, two[0]]]
        assert len(one) == most or tokens_computed(fuller, packed=True) > tokens


def test_passes_of_packed_rows_by_hand() -> None:
    """Five rows of 20 tokens that share nothing: two make 40, and three that share 64 of 70 make 82."""
    rng = np.random.default_rng(0)
    single = [np.array([[0, 1]]), np.array([1])]
    apart = [Sequences((np.full(20, n),), *single) for n in range(5)]
    assert list(microbatches(apart, Limit(40, 9), packed=True)) == [[0, 1], [2, 3], [4]]
    assert list(microbatches(apart, Limit(39, 9), packed=True)) == [[0], [1], [2], [3], [4]]
    same = rng.integers(5, 90, LEAST)
    alike = [Sequences((np.concatenate([same, np.full(6, n)]),), *single) for n in range(5)]
    assert list(microbatches(alike, Limit(82, 9), packed=True)) == [[0, 1, 2], [3, 4]]
    assert list(microbatches(alike, Limit(81, 9), packed=True)) == [[0, 1], [2, 3], [4]]


def test_scoring_reads_what_one_pass_may_hold_in_one_pass() -> None:
    """Of other lengths than padded rows would have together."""
    model = model_of("llama")
    assert prepare(model, 256)
    passes = []
    model.model.register_forward_hook(lambda *_: passes.append(1))
    rng = np.random.default_rng(0)
    episodes = [episode(rng, [rng.integers(5, 90, n)]) for n in (5, 40, 90)]
    pricing.score(Policy(model, packed=True), episodes, Limit(10**6, 9))
    assert len(passes) == 1


def samples_of(policy: Policy, seed: int = 0) -> list[ppo.Sample]:
    rng = np.random.default_rng(seed)
    long = rng.integers(5, 90, LEAST + 30)
    shared = [[0], [LEAST], [LEAST + 30, 20], [LEAST, LEAST + 30], [LEAST + 9], [7], [LEAST + 30], [LEAST + 30]]
    episodes = [episode(rng, [long[:n] for n in own]) for own in shared]
    found = pricing.score(policy, episodes, Limit(150, 9))
    return [
        ppo.Sample(e, s.logprobs, s.logprobs - 0.1, rng.normal(size=len(e.where)), np.full(len(e.where), 0.5))
        for e, s in zip(episodes, found, strict=True)
    ]


def updated(model: Any, *, packed: bool, tokens: int, recompute: bool = False) -> tuple[Any, dict[str, float]]:
    """The model after one step over eight episodes, in passes of so many tokens."""
    own = copy.deepcopy(model)
    policy = Policy(own, packed=packed, recompute=recompute)
    settings = PPOConfig(minibatches=1, epochs=1, microbatch=tokens, microbatch_episodes=99)
    groups = [{"params": list(part.parameters()), "initial_lr": 0.1} for part in (own, policy.value)]
    figures = ppo.update(
        policy, torch.optim.SGD(groups, lr=0.1), samples_of(policy), settings,
        rng=np.random.default_rng(0), kl_in_loss=True, ratio_tolerance=1e-3,
    )  # fmt: skip
    return own, figures


@pytest.mark.parametrize(("tokens", "recompute"), [(10**6, False), (150, False), (1, False), (150, True)])
def test_one_pass_over_eight_packed_episodes_is_eight_passes_and_the_padded_step(tokens: int, recompute: bool) -> None:
    plain, model = model_of("qwen2"), model_of("qwen2")
    assert prepare(model, 256)
    want, padded = updated(plain, packed=False, tokens=10**6)
    got, figures = updated(model, packed=True, tokens=tokens, recompute=recompute)
    for one, other in zip(want.parameters(), got.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    spent, alone = figures.pop("tokens_trained"), padded.pop("tokens_trained")
    assert figures == pytest.approx(padded, abs=1e-4)
    episodes = [sample.sequences for sample in samples_of(Policy(plain))]
    assert alone == tokens_computed(episodes)
    if tokens == 10**6:
        assert spent == tokens_computed(episodes, packed=True) < alone - 4 * LEAST
    assert spent <= sum(e.size for e in episodes)


@pytest.mark.parametrize(("lora", "recompute"), [(False, False), (True, True)])
def test_a_warm_start_on_packed_rows_has_the_losses_and_the_weights_of_padded_ones(
    lora: bool, recompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step by step, the last one of a shorter batch; the mean over what is taught, of whatever example it is."""
    settled = warm_start._trainer_settings
    monkeypatch.setattr(warm_start, "_trainer_settings", lambda *given: settled(*given) | {"logging_steps": 1})
    rng = np.random.default_rng(4)
    long = rng.integers(5, 90, LEAST + 30)
    shown = []
    for number in range(11):
        own = episode(rng, [long[: (0, LEAST, LEAST + 30)[number % 3]]] * (1 + number % 2), sampled=1 + number % 7)
        shown.append(warm_start.Demonstration(own, rng.random(len(own.lengths)) < 0.9))
    settings = WarmStartConfig(learning_rate=1e-3, epochs=1, batch=3, warmup=0.1)
    found = []
    for packed in (False, True):
        model = model_of("qwen2")
        if lora:
            adapter.attach(model, ModelConfig(adapter="lora", lora_rank=2), seed=0)
        assert not packed or prepare(model, 256)
        losses: list[float] = []

        def told(step: int, steps: int, loss: float | None, losses: list[float] = losses) -> None:
            losses += [] if loss is None else [loss]

        figures = warm_start.clone(
            model, language_model().tokenizer, shown, settings,
            recompute=recompute, packed=packed, seed=0, on_step=told,
        )  # fmt: skip
        assert figures["loss"] == losses[-1] and len(losses) > 4
        found.append((model, losses))
    (plain, want), (model, got) = found
    assert got == pytest.approx(want, rel=1e-4)
    moved = 0.0
    for (name, one), other, begun in zip(
        plain.named_parameters(), model.parameters(), model_of("qwen2").parameters(), strict=False
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3, msg=name)
        moved = max(moved, float((one - begun).detach().abs().max())) if one.shape == begun.shape else moved
    assert lora or moved > 1e-3
