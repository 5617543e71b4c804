"""Self-supervised training of a backbone."""
