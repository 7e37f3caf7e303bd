"""Our own DINOv3 vision transformers, with the import paths and state-dict keys of the released models."""
