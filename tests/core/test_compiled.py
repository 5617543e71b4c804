from __future__ import annotations

import ast
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import pytest

from datus2_ray.core import compiled

USE = "import numpy as np; from datus2_ray.core.graph.louvain_sparse import renumber; print(renumber(np.array([3, 1])))"


def folder() -> Path:
    return compiled.code_folder.__wrapped__()


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Set a user's cache of its own, and a temporary directory beside it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "cache"


def test_the_folder_follows_the_sources_of_compiled_functions_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sources = tmp_path / "core"
    sources.mkdir()
    kernel, plain = sources / "kernel.py", sources / "plain.py"
    kernel.write_text("\n@compiled\ndef f(): return 1\n")
    plain.write_text("def g(): return 1\n")
    monkeypatch.setattr(compiled, "__file__", str(sources / "compiled.py"))
    (sources / "compiled.py").write_text("old")
    first = folder()
    plain.write_text("def g(): return 2\n")
    assert folder() == first
    kernel.write_text(kernel.read_text().replace("1", "2"))
    second = folder()
    (sources / "compiled.py").write_text("new")
    assert len({first, second, folder()}) == 3


def test_every_compiled_function_counts() -> None:
    core = Path(compiled.__file__).parent
    for source in core.rglob("*.py"):
        decorators = [d for n in ast.walk(ast.parse(source.read_text())) for d in getattr(n, "decorator_list", [])]
        if any("compiled" in ast.unparse(decorator) for decorator in decorators):
            assert b"\n@compiled\n" in source.read_bytes(), f"{source} is not part of the key"


def test_the_users_folder_for_numba_comes_first(monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path) -> None:
    assert folder().parent == home
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "numba"))
    assert folder().parent == tmp_path / "numba"


def test_a_folder_that_others_may_write_to_is_not_used(home: Path) -> None:
    first = folder()
    first.chmod(0o777)
    second = folder()
    assert second.parent == Path(tempfile.gettempdir())
    second.chmod(0o777)
    third = folder()
    assert third not in (first, second)
    assert stat.S_IMODE(third.stat().st_mode) == 0o700


def test_the_folder_of_another_user_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder()
    monkeypatch.setattr(os, "getuid", lambda: first.stat().st_uid + 1)
    assert folder() != first


def test_a_link_to_a_private_folder_is_not_used(tmp_path: Path) -> None:
    first = folder()
    first.rmdir()
    (tmp_path / "private").mkdir(mode=0o700)
    first.symlink_to(tmp_path / "private")
    assert folder() != first


def test_folders_that_were_not_used_for_long_are_deleted(home: Path) -> None:
    old, recent, other = (home / f"datus2-{key}" for key in ("0" * 16 + "-cpu", "1" * 16 + "-cpu", "images"))
    for made in (old, recent, other):
        made.mkdir(parents=True)
        (made / "code").touch()
    for made in (old, other):
        os.utime(made, (0, 0))
    folder()
    assert not old.exists()
    assert recent.exists()
    assert other.exists()


def test_the_folder_is_used_though_another_process_deletes_old_ones_first(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    old = [home / f"datus2-{key}-cpu" for key in ("0" * 16, "1" * 16)]
    for made in old:
        made.mkdir(parents=True)
        os.utime(made, (0, 0))
    delete = shutil.rmtree

    def delete_all(*_: object, **__: object) -> None:
        for made in old:
            delete(made, ignore_errors=True)

    monkeypatch.setattr(shutil, "rmtree", delete_all)
    assert folder().parent == home


def test_the_package_in_another_place_takes_the_code_of_the_first(home: Path, tmp_path: Path) -> None:
    package, kept = Path(compiled.__file__).parents[1], []
    shutil.copytree(package, tmp_path / "job" / package.name, copy_function=shutil.copyfile)  # files of today
    for place in (package.parent, tmp_path / "job"):
        environment = {**os.environ, "PYTHONPATH": str(place), "XDG_CACHE_HOME": str(home)}
        environment.pop("NUMBA_CACHE_DIR", None)
        use = f"{USE}; import datus2_ray; print(datus2_ray.__file__)"
        ran = subprocess.run(
            [sys.executable, "-c", use], env=environment, cwd=place, capture_output=True, text=True, check=True
        )
        assert ran.stdout == f"2\n{place / package.name / '__init__.py'}\n"
        kept.append({file: file.stat().st_mtime_ns for file in home.rglob("*.nb?")})
    assert kept[0]
    assert kept[0] == kept[1]


def test_where_nothing_can_be_kept_at_home_a_temporary_folder_does(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder can be made in here")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": tempfile.gettempdir()}
    environment.pop("NUMBA_CACHE_DIR", None)
    ran = subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "2\n"
    (kept,) = Path(tempfile.gettempdir()).glob("datus2-*")
    assert list(kept.rglob("*.nbc"))
