"""The encoder interface, its presets, and the backbones behind it."""
