"""Train a backbone on the images of a run."""
