"""The id `spa-bench-verifiers`: verifiers finds environments by a module at the top level. See docs/interop.md."""

from spa_bench.interop.verifiers import SpaBenchEnv, SpaBenchHarness, SpaBenchTaskset

__all__ = ["SpaBenchEnv", "SpaBenchHarness", "SpaBenchTaskset"]
