"""Commands that are not about one run: of data, of results, of something new. `spa_bench.cli` has the others."""
