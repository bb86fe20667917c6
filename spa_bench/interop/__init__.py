"""Worlds, rewards and recorded episodes for other people's trainers: TRL, verifiers, Hugging Face datasets."""
