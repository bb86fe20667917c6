"""How many faults there are, and in which cases."""

from __future__ import annotations

import cases
import pytest

KILLS, FLIPS = 20, 20
"""In a usual run of the tests."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "struck" in metafunc.fixturenames:
        found = cases.LONG if metafunc.config.getoption("faults") else cases.SHORT
        metafunc.parametrize("struck", found, ids=cases.named, scope="module")


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int:
    """Kills at random moments in each case, so that there are as many as wanted in all of them."""
    wanted = request.config.getoption("faults")
    found = cases.LONG if wanted else cases.SHORT
    return -(-(wanted or KILLS) // len(found))


@pytest.fixture(scope="session")
def flips(request: pytest.FixtureRequest) -> int:
    """Damaged files in all."""
    return 5 * (request.config.getoption("faults") or 0) or FLIPS
