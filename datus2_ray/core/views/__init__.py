"""Which part of an image is seen: the middle, pieces, or overlapping windows."""
