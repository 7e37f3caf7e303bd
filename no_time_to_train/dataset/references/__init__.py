"""References as they are given, their masks, and the crops that the encoder sees."""
