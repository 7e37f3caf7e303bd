"""Reference pages made from dataclasses, docstrings and parsers: ``python -m tools.reference_pages``."""
