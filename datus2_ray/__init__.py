"""DatUS²: segments and classes in images without a single label, as a batch system on Ray."""

from datus2_ray.config import RunConfig
from datus2_ray.ingestion import ingest
from datus2_ray.pipeline import run
from datus2_ray.prediction import predict
from datus2_ray.pretraining import pretrain
from datus2_ray.version import VERSION

__version__ = VERSION
__all__ = ["RunConfig", "ingest", "predict", "pretrain", "run"]
