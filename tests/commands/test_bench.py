"""`spa-bench bench` does what it says it measures; how long that takes is nobody's business here."""

import io
import json

from spa_bench import registry
from spa_bench.commands import bench
from spa_bench.commands.bench import Measurement
from spa_bench.core import TextEnv


class Counted:
    """A world that counts what is done to it."""

    def __init__(self) -> None:
        self.world = registry.build("environments", "webshop", products=20, valid=2)
        self.calls: dict[str, int] = {}

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        found = getattr(self.world, name)
        if not callable(found):
            return found

        def counted(*args, **kwargs):  # type: ignore[no-untyped-def]
            self.calls[name] = self.calls.get(name, 0) + 1
            return found(*args, **kwargs)

        return counted


def test_every_measurement_counts_what_was_done():
    world = Counted()
    found = {one.what: one for one in bench.measure(lambda: world, 0.02)}  # type: ignore[arg-type,return-value]
    assert list(found) == [
        "load the world and list its held-out tasks",
        "reset",
        "step, uniformly random admissible action",
        "step, the expert's action",
        "snapshot and restore",
    ]
    steps = found["step, uniformly random admissible action"].count + found["step, the expert's action"].count
    assert world.calls["step"] == steps > 2
    assert world.calls["expert_action"] == found["step, the expert's action"].count
    assert world.calls["snapshot"] == world.calls["restore"] == found["snapshot and restore"].count
    assert world.calls["reset"] > found["reset"].count
    assert all(one.seconds > 0 for one in found.values())


def test_a_rate_is_count_over_time():
    stream = io.StringIO()
    bench.show([Measurement("reset", 50, 0.1)], stream, False)
    assert stream.getvalue() == "reset: 500/s, 2,000.0 us each, 50 times\n"


def test_json_has_the_raw_numbers():
    stream = io.StringIO()
    bench.show([Measurement("reset", 50, 0.1)], stream, True)
    assert json.loads(stream.getvalue()) == [{"what": "reset", "count": 50, "seconds": 0.1, "each": 0.002}]


def test_any_world_can_be_measured():
    def make() -> TextEnv:
        return registry.build("environments", "alfworld", train=6, valid=3)

    assert [one.count > 0 for one in bench.measure(make, 0.01)] == [True] * 5
