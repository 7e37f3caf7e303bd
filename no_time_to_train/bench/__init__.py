"""Benchmarks of the package: ``stages`` times each stage, ``accuracy`` compares settings by AP."""
