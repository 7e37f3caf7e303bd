"""From proposals and memory to instances: pooling, scores, suppression, merging."""
