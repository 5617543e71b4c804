"""The readers of others, in an environment of their own: their versions are not those of the project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Without their dependencies, of which few are needed to read files, and the project has the others.
READERS = (
    "hotcoco==1.3.0",
    "datumaro==1.13.12", "cachetools==7.3.3", "defusedxml==0.7.1", "imagesize==2.0.1", "json-stream==2.5.1",
    "json-stream-rs-tokenizer==0.5.4", "lxml==6.1.3", "opencv-python-headless==4.14.0.94", "orjson==3.13.0",
    "pytz==2026.6", "ruamel.yaml==0.19.1", "shapely==2.2.0",
    "label-studio-sdk==2.1.2",
    "datasets==5.2.0", "dill==0.4.1", "multiprocess==0.70.19", "xxhash==4.1.0",
    "rasterio==1.4.4", "affine==3.0.1", "click-plugins==1.1.1.2", "cligj==0.7.2",
)  # fmt: skip


@pytest.fixture(scope="session")
def readers() -> dict[str, str]:
    """Return the environment of a process that has the readers; they are installed once."""
    folder = Path(__file__).parents[2] / ".readers"
    noted = folder / ".installed"
    if not noted.exists() or noted.read_text() != "\n".join(READERS):
        install = ["install", "--quiet", "--no-deps", "--no-compile", "--upgrade", "--target", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", *install, *READERS], check=True)
        noted.write_text("\n".join(READERS))
    places = (str(folder), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places)), "HF_HUB_OFFLINE": "1"}
