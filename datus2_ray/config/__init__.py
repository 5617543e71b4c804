"""Settings: one frozen model a stage, the run's model, and how they are put together."""
