"""Choose the resolution and the number of clusters on a sample."""
