"""`core/` is mathematics: it must be importable, and is imported, without Ray and without the stages."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "datus2_ray" / "core"
FILES = sorted(CORE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(CORE)))
def test_no_file_of_core_imports_ray_or_what_lies_above(file: Path) -> None:
    allowed = ("datus2_ray.core", "datus2_ray.errors")
    for node in ast.walk(ast.parse(file.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.split(".")[0] != "ray"
            assert not name.startswith("datus2_ray") or name.startswith(allowed), f"{file.name} imports {name}"


def test_importing_core_does_not_load_ray() -> None:
    modules = [".".join(f.relative_to(CORE.parents[1]).with_suffix("").parts) for f in FILES if f.stem != "__init__"]
    code = f"import sys, importlib\nfor m in {modules!r}: importlib.import_module(m)\nassert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
