"""Files or shards to checked images in parts."""
