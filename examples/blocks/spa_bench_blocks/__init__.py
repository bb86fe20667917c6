"""Blocks world, as a package of its own for spa-bench."""
