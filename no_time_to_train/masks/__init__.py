"""Every formula on masks, once: tensors, run-length codes, outlines, overlaps."""
