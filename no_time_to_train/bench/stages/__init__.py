"""What each stage costs: our path and the literal one of the specification, measured in one run."""
