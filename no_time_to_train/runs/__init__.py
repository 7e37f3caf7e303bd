"""What a run leaves on disk, and what is checked before it starts."""
