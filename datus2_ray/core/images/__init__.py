"""Decode images and label maps, resize, normalise, encode."""
