"""Runs and servers that are ended at random moments, gone on with, and looked through for what was lost."""
