"""Run a training under Ray Train."""
