"""What every process of a run imports, driver and workers alike, must be quick to import."""

from __future__ import annotations

import subprocess
import sys

#: Packages that only some processes need, and that take from 0.2 s (SciPy) to 5 s (timm, with torch) to import.
HEAVY = {"matplotlib", "numba", "pandas", "ray", "scipy", "sklearn", "timm", "torch", "torchvision"}


def test_declarations_of_stages_and_commands_load_nothing_heavy() -> None:
    code = f"import sys, datus2_ray.stages, datus2_ray.commands.run; print(*sorted({HEAVY!r} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
