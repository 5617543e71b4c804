"""Initial masks: segments and centroids to labels."""
