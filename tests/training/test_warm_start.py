"""The order in which demonstrations are learnt from, and their batches."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import max_examples

from spa_bench.training.warm_start import BLOCK, _padded, _schedule


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


def test_nothing_is_taught_behind_the_end_of_a_shorter_example():
    batch = _padded([{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}, {"input_ids": [8], "labels": [8]}])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [8, -100, -100]]
    assert batch["position_ids"].tolist() == [[0, 1, 2]] * 2
