"""What is remembered of the references, and how it is saved, joined and edited."""
