"""Train a segmenter on the initial masks."""
