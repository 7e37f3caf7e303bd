"""Find every instance of your own things in pictures from a few reference masks, without training."""

__version__ = "0.1.0"
