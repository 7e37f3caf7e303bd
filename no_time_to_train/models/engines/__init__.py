"""Graphs of both image encoders, and the engines that compute them in place of torch."""
