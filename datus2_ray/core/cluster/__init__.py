"""k-means over fixed shards, exact and repeatable, and the tree that merges its clusters."""
