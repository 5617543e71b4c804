"""A linear probe on the ground truth: the ceiling of what clusters can be named."""
