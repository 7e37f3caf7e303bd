"""A bounded, seeded fuzz run over everything that reads a file."""
