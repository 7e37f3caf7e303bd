"""Where mask proposals come from: SAM 2, its prompts, and the decoder that answers them."""
