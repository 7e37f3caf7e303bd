"""HTML reports and overlays, made from values."""
