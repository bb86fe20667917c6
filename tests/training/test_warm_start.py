"""The order in which demonstrations are learnt from, and their batches."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples
from tiny import language_model

from spa_bench.training.policy import Policy
from spa_bench.training.warm_start import BLOCK, _collated, _schedule, _trainer_of


@given(st.lists(st.integers(1, 500), min_size=1, max_size=300), st.floats(0.2, 3.0), st.integers(1, 9))
@max_examples(50)
def test_every_pass_shows_every_example_once_and_the_last_one_a_part(lengths, epochs, batch):
    order = _schedule(np.array(lengths), epochs, batch, np.random.default_rng(0)).tolist()
    assert len(order) == round(epochs * len(lengths))
    shown = Counter(order)
    assert set(shown) <= set(range(len(lengths)))
    assert all(int(epochs) <= shown[i] <= int(np.ceil(epochs)) for i in range(len(lengths)))


def test_batches_are_of_similar_length_and_long_and_short_ones_come_in_no_order():
    rng = np.random.default_rng(1)
    lengths = rng.integers(50, 1000, 4 * BLOCK * 8)
    batches = lengths[_schedule(lengths, 1.0, 8, rng)].reshape(-1, 8)
    padding = (batches.max(axis=1, keepdims=True) - batches).sum() / lengths.sum()
    assert padding < 0.03  # 0.7 in random order
    block = batches[:BLOCK].mean(axis=1)
    assert abs(np.corrcoef(np.arange(BLOCK), block)[0, 1]) < 0.4  # 1 or -1 where a block stays sorted


def test_a_short_batch_comes_last():
    order = _schedule(np.arange(1, 11), 1.0, 4, np.random.default_rng(2))
    assert [len(set(order[i : i + 4])) for i in (0, 4, 8)] == [4, 4, 2]
    assert sorted(order[:4]) in ([0, 1, 2, 3], [4, 5, 6, 7]) and sorted(order[8:]) == [8, 9]


ROWS = [
    {"input_ids": [5, 6, 7, 9, 6], "labels": [-100, 6, 7, -100, 6]},
    {"input_ids": [8, 11, 5], "labels": [-100, -100, 5]},
    {"input_ids": [8, 5, 12, 30], "labels": [-100, 5, -100, -100]},
]


def test_the_loss_and_its_gradients_are_those_of_an_output_layer_over_every_token():
    """In torch's own words: five labels, each predicted from what is before it, whatever is behind shorter examples."""
    model = language_model().model.train(False)
    ids, labels = torch.zeros(3, 5, dtype=torch.long), torch.full((3, 5), -100)
    for number, row in enumerate(ROWS):
        ids[number, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
        labels[number, : len(row["labels"])] = torch.tensor(row["labels"])
    logits = model(input_ids=ids).logits[:, :-1]
    want = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], ignore_index=-100)
    weights = [*model.parameters()]
    loss = _trainer_of(Policy(model)).compute_loss(None, model, _collated(ROWS))
    torch.testing.assert_close(loss, want)
    wanted, found = (torch.autograd.grad(one, weights) for one in (want, loss))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_the_output_layer_reads_no_state_without_a_label():
    model = language_model().model
    head, read = model.get_output_embeddings(), []
    head.register_forward_pre_hook(lambda _, given: read.append(len(given[0])))
    _trainer_of(Policy(model)).compute_loss(None, model, _collated(ROWS))
    assert read == [5]
