"""Confusion matrices and the scores that are computed from them."""
