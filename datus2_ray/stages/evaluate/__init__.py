"""Scores of masks against the ground truth."""
