"""Segment descriptors to centroids, over Ray actors."""
