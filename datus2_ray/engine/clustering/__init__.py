"""k-means over vectors that lie in Ray actors, and the tables of its centroids."""
