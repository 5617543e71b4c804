"""Frozen vision transformers and CNNs: weights, architectures, patch vectors."""
