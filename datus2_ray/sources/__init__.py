"""What a source holds: listings, shards, samples of parts."""
