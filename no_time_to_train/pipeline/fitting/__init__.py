"""Learning an adapter of the references: augmented views, losses, and the comparison on left-out pictures."""
