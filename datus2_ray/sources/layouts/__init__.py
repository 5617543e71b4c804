"""Layouts of data sets: where images and masks are, and what the masks mean; :mod:`.known` has all of them."""
