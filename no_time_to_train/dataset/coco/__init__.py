"""COCO files: read, checked, written; result rows."""
