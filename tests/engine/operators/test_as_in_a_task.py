"""Work in the driver has one thread and says nothing; what surrounds it is as before."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator

import pytest
import torch
from threadpoolctl import threadpool_info

from datus2_ray.engine.operators.as_in_a_task import as_in_a_task


def threads() -> tuple[str | None, int, set[int]]:
    of_blas = {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}
    return os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads(), of_blas


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("given", [None, "5"])
def test_each_item_is_computed_with_one_thread(
    given: str | None, three_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    before, outside = threads(), []
    assert before[:2] == (given, 3)
    inside = []
    for item in as_in_a_task(threads() for _ in range(3)):
        inside.append(item)
        outside.append(threads())
    assert inside == [("1", 1, {1})] * 3
    assert outside == [before] * 3


def test_nothing_is_said_but_errors_are_raised(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> Iterator[int]:
        os.write(2, b"a message of a library")
        warnings.warn("a warning", stacklevel=1)
        yield 1
        raise ValueError("broken")

    rows = as_in_a_task(work())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert next(rows) == 1
        print("said", file=sys.stderr, flush=True)
        with pytest.raises(ValueError, match="broken"):
            next(rows)
    assert capfd.readouterr().err == "said\n"
