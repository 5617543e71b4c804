"""Masks of classes: names and masks of clusters to what a person calls every pixel."""
