"""Scenes with exact masks, rendered for the demo and the tests."""
