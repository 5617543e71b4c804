"""Step 2 and 3 of the method: the affinity graph of an image, its communities, its segments."""
