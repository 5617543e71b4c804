"""Chunks are worked on in several threads, with the results in order, unless there is to be one."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from datus2_ray.core.cluster.assignment import assign
from datus2_ray.core.cluster.kmeans import kmeans
from datus2_ray.core.cluster.rows import LocalRows, RowBlock
from datus2_ray.core.cluster.threads import BLAS, in_threads, side_by_side


@pytest.mark.parametrize(("threads", "names"), [("1", {"MainThread"}), ("3", {"chunks_0", "chunks_1", "chunks_2"})])
def test_results_come_in_order(threads: str, names: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    together, seen = threading.Barrier(len(names), timeout=30), set[str]()

    def double(number: int) -> int:
        if number in (0, 25, 49):  # in three shares
            together.wait()
        seen.add(threading.current_thread().name)
        return 2 * number

    assert list(in_threads(double, range(50))) == list(range(0, 100, 2))
    assert seen == names


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
def test_every_item_is_worked_on_once(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    seen: list[int] = []
    assert list(in_threads(lambda item: seen.append(item) or item, range(count))) == list(range(count))
    assert sorted(seen) == list(range(count))


@pytest.mark.parametrize("threads", ["1", "3"])
def test_long_calls_go_side_by_side_and_use_threads_of_their_own(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    together, limits = threading.Barrier(int(threads), timeout=30), set[int]()

    def add(number: int) -> int:
        if number < int(threads):
            together.wait()  # as many at a time as there are threads
        with BLAS.limit(limits=1):
            total = sum(in_threads(lambda chunk: chunk * number, range(100)))
            limits.update(library["num_threads"] for library in BLAS.info())
        return total

    before = BLAS.info()
    assert side_by_side(add, range(20), threading.Event()) == [4950 * number for number in range(20)]
    assert limits == {1}
    assert before == BLAS.info()
    assert side_by_side(add, [], threading.Event()) == []


def test_long_calls_within_long_calls_go_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")

    given_up = threading.Event()

    def inner(number: int) -> str:
        return threading.current_thread().name

    names = side_by_side(lambda number: set(side_by_side(inner, range(5), given_up)), range(6), given_up)
    assert [len(name) for name in names] == [1] * 6
    assert side_by_side(inner, range(5), given_up) != [threading.current_thread().name] * 5


def test_where_a_long_call_fails_the_others_end_at_their_next_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    rows, asked = LocalRows([np.ones((3, 2))]), threading.Barrier(3, timeout=30)

    def ask_for_ever(number: int) -> None:
        asked.wait()
        if number == 0:
            raise KeyboardInterrupt  # as if it had come while this call was waited for
        while True:  # as k-means asks, whose restarts are such calls, too; one question is slower than the others
            rows.each(lambda _: (time.sleep(0.2 * number), rows.ask(len_of)), range(2))

    with pytest.raises(KeyboardInterrupt):
        rows.each(ask_for_ever, range(4))
    assert rows.ask(len_of) == [3]
    with pytest.raises(ZeroDivisionError):
        rows.each(lambda number: 1 // number, [1, 0])


def len_of(block: RowBlock) -> int:
    return len(block.x)


@pytest.mark.parametrize("metric", ["euclidean", "spherical"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_any_number_of_threads_gives_the_bits_of_one(metric: str, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(5000, 40)).astype(dtype)
    found = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        result = kmeans(LocalRows([x]), 30, metric=metric, restarts=2, seed=0, noun="rows")  # type: ignore[arg-type]
        found.append((result.centroids, *assign(x, result.centroids, metric)))  # type: ignore[arg-type]
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, same)
