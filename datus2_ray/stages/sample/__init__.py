"""Choose the number of clusters on a sample."""
