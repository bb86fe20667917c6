"""Worlds and agents brought together: episodes played from the start, in branches, and on from the middle."""
