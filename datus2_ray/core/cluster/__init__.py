"""k-means over fixed shards, exact and repeatable, and merging of its centroids."""
