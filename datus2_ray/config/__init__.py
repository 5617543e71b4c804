"""Settings: one frozen model a stage, the run's model, and how they are put together."""

from datus2_ray.config.load import RunConfig, load

__all__ = ["RunConfig", "load"]
