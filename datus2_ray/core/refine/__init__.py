"""Networks that learn the initial masks, and their losses."""
