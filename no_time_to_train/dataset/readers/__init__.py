"""Readers of annotation formats. Each gives COCO content, so that one path serves them all."""
