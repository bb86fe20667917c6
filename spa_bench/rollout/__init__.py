"""Episodes of an agent in a world: from the start, in branches, and continued from environment snapshots."""
