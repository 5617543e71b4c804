"""EM on segments: tokens and clusters of segments to a layer that classifies tokens."""
