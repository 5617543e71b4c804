"""Models are imported without torch's compiler, a logger and the garbage collector, which are there afterwards."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from datus2_ray.core.quick_import import quick_import

#: Run in a process of its own, in which nothing is imported yet.
IMPORT = """
import sys
from importlib import import_module
from datus2_ray.core.quick_import import quick_import
with quick_import():
    import datus2_ray.engine.operators.embed
assert "datus2_ray.sources.layouts.known" not in sys.modules  # all data sets, of which an actor needs none

from datus2_ray.engine.operators.decides import EMBED_IMAGES
from datus2_ray.stages.predict.predict import SEGMENT_IMAGES

for model in (EMBED_IMAGES, SEGMENT_IMAGES):
    with quick_import():
        import_module(model.module)
assert "timm" in sys.modules
assert not {"torch._dynamo", "torch._dynamo.utils", "wandb"} & set(sys.modules)
"""

COMPILE = """
import torch
from torchvision.ops import roi_align

found = torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(2))
assert found.tolist() == [1, 1]
assert torch.compiler.disable(print) is not print
assert roi_align(torch.ones(1, 1, 8, 8), [torch.tensor([[0.0, 0, 4, 4]])], 2).tolist() == [[[[1, 1], [1, 1]]]]
import wandb, torch._dynamo.utils
assert wandb.__version__ and torch._dynamo.utils.counters is not None
"""

#: A later version of a library may import more of the compiler.
MORE = """
from datus2_ray.core.quick_import import quick_import
with quick_import():
    from torch._dynamo.utils import counters, is_compile_supported
    import torch._dynamo
import timm
assert torch._dynamo.utils.counters is counters
assert is_compile_supported("cpu") in (True, False)
"""


@pytest.mark.parametrize("code", [IMPORT, IMPORT + COMPILE, MORE])
def test_the_compiler_and_the_logger_are_imported_when_they_are_used(code: str) -> None:
    pytest.importorskip("wandb")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("collects", [True, False])
def test_no_garbage_is_collected_meanwhile(collects: bool) -> None:
    if not collects:
        gc.disable()
    try:
        with quick_import():
            assert not gc.isenabled()
            with quick_import():
                pass
            assert not gc.isenabled()
        assert gc.isenabled() == collects
        with pytest.raises(ModuleNotFoundError), quick_import():
            raise ModuleNotFoundError
        assert gc.isenabled() == collects
    finally:
        gc.enable()
