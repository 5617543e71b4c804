"""k-means over vectors that lie in Ray actors, or few in this process, and the tables of its centroids."""
