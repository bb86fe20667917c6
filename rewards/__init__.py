"""The room of the reward methods: what a step is worth. One file, one method."""
