"""Reward methods: each assigns a reward to every step. One file, one method."""
