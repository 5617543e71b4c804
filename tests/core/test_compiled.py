from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from datus2_ray.core import compiled

USE = (
    "import numpy as np; from datus2_ray.core.graph.louvain import louvain; "
    "print(louvain(np.eye(9, dtype=bool)).communities)"
)


def folder() -> Path:
    return compiled.code_folder.__wrapped__()


def test_code_is_kept_by_all_sources_it_may_have_been_made_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    sources = tmp_path / "core"
    sources.mkdir()
    for name in ("compiled.py", "louvain_dense.py"):
        (sources / name).write_text("old")
    monkeypatch.setattr(compiled, "__file__", str(sources / "compiled.py"))
    old = folder()
    assert old.parent == tmp_path
    assert folder() == old
    (sources / "louvain_dense.py").write_text("new")
    assert folder() != old


def test_the_users_folder_for_numba_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "numba"))
    assert folder().parent == tmp_path / "numba"


def test_where_nothing_can_be_kept_at_home_a_temporary_folder_does(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder can be made in here")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    ran = subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "9\n"
    (kept,) = tmp_path.glob("datus2-*")
    assert list(kept.rglob("*.nbc"))
