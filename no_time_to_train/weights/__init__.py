"""Weight files: where they are, which layout they have, strict loading."""
