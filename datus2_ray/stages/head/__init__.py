"""A head learned without labels: tokens to codes, and segments described by them."""
