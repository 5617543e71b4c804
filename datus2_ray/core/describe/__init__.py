"""Describe a segment by its crop or by its tokens."""
