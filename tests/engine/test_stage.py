"""A model is imported while the garbage collector rests, which goes on afterwards as before."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest

from datus2_ray.engine import stage
from datus2_ray.engine.stage import Model


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return whether garbage was collected during each import, of a module with one class."""
    collected: list[bool] = []

    def import_module(name: str) -> SimpleNamespace:
        collected.append(gc.isenabled())
        if name == "missing":
            raise ModuleNotFoundError(name)
        return SimpleNamespace(Built=lambda *arguments: arguments)

    monkeypatch.setattr(stage, "import_module", import_module)
    return collected


@pytest.mark.parametrize("collects", [True, False])
def test_no_garbage_is_collected_while_a_model_is_imported(imports: list[bool], collects: bool) -> None:
    if not collects:
        gc.disable()
    try:
        assert Model("module", "Built")("a", 1) == ("a", 1)
        assert (imports, gc.isenabled()) == ([False], collects)
    finally:
        gc.enable()


def test_garbage_is_collected_again_after_an_import_that_failed(imports: list[bool]) -> None:
    with pytest.raises(ModuleNotFoundError):
        Model("missing", "Built")()
    assert (imports, gc.isenabled()) == ([False], True)
