"""Scores of results against ground truth: COCO and LVIS AP, semantic IoU, tables."""
