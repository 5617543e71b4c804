"""Import torch, torchvision and timm without what inference does not use, in two thirds of the time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import RLock
from types import ModuleType
from typing import Any

#: Module of torch's compiler of which torchvision imports a function that says whether a device can compile.
COMPILER = "torch._dynamo.utils"

#: Imported by timm where it is installed, for a logger of training scripts.
LOGGER = "wandb"

#: Another thread would take the stand-ins for the modules.
ONE_THREAD = RLock()


@contextmanager
def quick_import() -> Iterator[None]:
    """Let imports in the context do without torch's compiler and a logger, and without collecting garbage.

    The compiler is imported when it is first used. Contexts may be nested.
    """
    with ONE_THREAD:
        collects = gc.isenabled()
        gc.disable()
        try:
            with _stand_ins():
                yield
        finally:
            if collects:
                gc.enable()


@contextmanager
def _stand_ins() -> Iterator[None]:
    if COMPILER in sys.modules:  # the compiler itself, or the stand-in of an outer context
        yield
        return
    import torch

    disable = torch.compiler.disable
    compiler = sys.modules[COMPILER] = _Compiler(COMPILER)
    # It would import the compiler for each function that is to stay out of compiled models. timm has some in NaFlexViT,
    # torchvision one of its transforms: neither is compiled here.
    torch.compiler.disable = _leave  # type: ignore[assignment]
    hides_logger = LOGGER not in sys.modules
    if hides_logger:
        sys.modules[LOGGER] = None  # type: ignore[assignment] # the import then fails, as where it is not installed
    try:
        yield
    finally:
        torch.compiler.disable = disable
        compiler.step_back()
        if hides_logger:
            sys.modules.pop(LOGGER, None)


class _Compiler(ModuleType):
    """Stands for the compiler's module until more of it is asked for than torchvision's import does."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        """Return whether a kind of device can compile."""
        supported: bool = import_module(COMPILER).is_compile_supported(device_type)
        return supported

    def step_back(self) -> None:
        """Let the module itself be imported from now on."""
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the module itself."""
        if name.startswith("__"):
            raise AttributeError(name)
        self.step_back()
        return getattr(import_module(COMPILER), name)


def _leave(function: Any = None, *arguments: Any, **named: Any) -> Any:
    return function if callable(function) else _leave
