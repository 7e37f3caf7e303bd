"""Images and annotations: what is on disk, read into values; nothing here knows a model."""
