"""A tiny policy, fresh for each test."""

from __future__ import annotations

import copy

import pytest
from tiny import language_model

from spa_bench.training.policy import Policy


@pytest.fixture(scope="module")
def weights() -> Policy:
    return Policy(language_model().model)


@pytest.fixture
def policy(weights: Policy) -> Policy:
    return copy.deepcopy(weights)


@pytest.fixture
def other() -> Policy:
    """Another network than `policy`, with the same tokens."""
    return Policy(language_model(seed=1).model)
