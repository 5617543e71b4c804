"""The C++ compiler that ``torch.compile`` needs."""

from __future__ import annotations

import os
import shlex
import shutil

from datus2_ray.errors import BackboneError


def has_compiler() -> bool:
    """Return whether ``torch.compile`` finds a C++ compiler: ``$CXX``, or g++."""
    return shutil.which(shlex.split(os.environ.get("CXX") or "g++")[0]) is not None


def require_compiler() -> None:
    """Raise a BackboneError if ``torch.compile`` finds no C++ compiler."""
    if not has_compiler():
        raise BackboneError("torch.compile finds no C++ compiler; install g++, or leave discover.compile off")
