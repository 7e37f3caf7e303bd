"""The released models by name."""
