"""Refined masks: the segmenter applied to every image."""
