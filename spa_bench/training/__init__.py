"""From expert demonstrations to a trained policy."""
