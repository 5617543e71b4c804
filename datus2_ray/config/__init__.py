"""Settings: one frozen model per stage, the run's model, and how they are loaded."""

from datus2_ray.config.load import load
from datus2_ray.config.run import RunConfig

__all__ = ["RunConfig", "load"]
