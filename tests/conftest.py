"""What holds for all tests: examples, one torch thread, a cache of the session, and no silent skipping of real data."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

# Two torch threads on a busy machine of two cores are several times slower than one. Read when torch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The default run has the same examples for everyone; `--hypothesis-profile=random` draws others, and five times as
# many. How long one takes depends on what else the machine does, so it decides nothing.
UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("derandomised", derandomize=True, database=None, max_examples=100, **UNTIMED)
settings.register_profile("random", derandomize=False, print_blob=True, max_examples=500, **UNTIMED)
settings.load_profile("derandomised")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", type=int, default=0, metavar="N", help="N kills and 5 N damaged files in tests/faults")


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Hypothesis also tries constants of the modules loaded so far, which are others in each process and with each
    selection of tests. In the default run there are none.
    """
    if settings.default is not None and settings.default.derandomize and hasattr(providers, "_get_local_constants"):
        providers._get_local_constants = providers.Constants


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests never read or fill the user's cache."""
    before = os.environ.get("SPA_BENCH_CACHE")
    os.environ.setdefault("SPA_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    if before is None:
        os.environ.pop("SPA_BENCH_CACHE", None)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct."""
    chosen = os.environ.get("SPA_BENCH_SMOLLM2")
    if not chosen or not (folder := Path(chosen).absolute()).is_dir():
        pytest.skip("no smollm2: run `spa-bench data get smollm2 --data FOLDER` and set SPA_BENCH_SMOLLM2 to FOLDER")
    return folder


@pytest.fixture
def smollm2_by_name(smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, in a cache of the test's own in which `--model smollm2` finds it."""
    monkeypatch.setenv("SPA_BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "data").mkdir(parents=True)
    (tmp_path / "cache" / "data" / "smollm2").symlink_to(smollm2, target_is_directory=True)
    return smollm2


def pytest_collection_finish() -> None:
    """What is loaded by now stays: a collector of garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """With SPA_BENCH_REQUIRE_OFFICIAL a skipped test on real data fails: CI has the data, though not the simulator.

    So does one that needs the real chat model, with SPA_BENCH_REQUIRE_SMOLLM2; not a benchmark of minutes.
    """
    report = yield
    needed = {
        "SPA_BENCH_REQUIRE_OFFICIAL": "official" in item.keywords and "reference" not in item.keywords,
        "SPA_BENCH_REQUIRE_SMOLLM2": "smollm2" in getattr(item, "fixturenames", ()) and "minutes" not in item.keywords,
    }
    for variable, required in needed.items():
        if report.skipped and required and os.environ.get(variable):
            report.outcome = "failed"
            report.longrepr = f"skipped, but {variable} is set: {report.longrepr}"
    return report
