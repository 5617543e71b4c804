"""DatUS²: segments and classes in images without a single label, as a batch system on Ray.

The functions of the library are loaded when they are first asked for, so that ``datus2_ray.core`` can be
used, for example in a bare PyTorch loop, without Ray.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from datus2_ray.version import VERSION

if TYPE_CHECKING:
    from datus2_ray.commands.annotations import import_annotations
    from datus2_ray.commands.export import export
    from datus2_ray.commands.ingest import ingest
    from datus2_ray.commands.load import load
    from datus2_ray.commands.name import name
    from datus2_ray.commands.predict import predict
    from datus2_ray.commands.pretrain import pretrain
    from datus2_ray.commands.relabel import relabel
    from datus2_ray.commands.run import run
    from datus2_ray.config.run import RunConfig

__version__ = VERSION
__all__ = [
    "RunConfig",
    "export",
    "import_annotations",
    "ingest",
    "load",
    "name",
    "predict",
    "pretrain",
    "relabel",
    "run",
]

_MODULES = {
    "RunConfig": "config.run",
    "export": "commands.export",
    "import_annotations": "commands.annotations",
    "ingest": "commands.ingest",
    "load": "commands.load",
    "name": "commands.name",
    "run": "commands.run",
    "predict": "commands.predict",
    "pretrain": "commands.pretrain",
    "relabel": "commands.relabel",
}


def __getattr__(name: str) -> Any:
    """Load what ``__all__`` names from its module (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
