"""Signs of life from inside long tasks, so that slow work is told from a hang.

Ray Data counts only blocks that move between operators. One part may take a large model on a CPU longer than any
sensible limit, so the actors tell after every forward pass that they live, and the driver looks at that and at the rows
that arrive.
"""

from __future__ import annotations

import queue
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from datus2_ray.errors import DatusError

T = TypeVar("T")

#: Images between two signs of life from a task that goes through those of a part.
BEAT_EVERY = 16

#: Seconds to wait for the counter's answer.
BEATS_SECONDS = 30.0

#: Seconds between two looks at the heartbeat.
LOOK_EVERY = 2.0


class _Counter:
    """Actor that counts the beats of every stream, and keeps the highest memory that was said and the last step."""

    def __init__(self) -> None:
        self._beats, self._memory, self._steps = Counter[str](), dict[str, int](), dict[str, int]()

    def beat(self, stream: str, memory: int) -> None:
        self._beats[stream] += 1
        self._memory[stream] = max(self._memory.get(stream, 0), memory)

    def tick(self, stream: str, step: int) -> None:
        self._beats[stream] += 1
        self._steps[stream] = step

    def status(self, stream: str) -> tuple[int, int]:
        return self._beats[stream], self._steps.get(stream, 0)

    def beats(self, stream: str) -> int:
        return self._beats[stream]

    def memory(self, stream: str) -> int:
        return self._memory.get(stream, 0)


@cache
def _counter_of(job: str, node: str) -> Any:
    """Start the counter of this process's connection to Ray, which the ids of its job and of the driver's node name."""
    # Imported here and below: the declarations of stages import this module, and need no Ray.
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Beside the driver, whose death ends the run anyway: on another node it would be lost with that node.
    beside = NodeAffinitySchedulingStrategy(node, soft=False)
    counter: Any = ray.remote(num_cpus=0, max_restarts=-1)(_Counter)
    return counter.options(scheduling_strategy=beside).remote()


class Heartbeat:
    """Beats of the actors of one stream, which the driver reads; a copy sent to an actor beats for the same stream.

    All streams of a driver share one counter: its process takes 0.7 s of a core to start.
    """

    def __init__(self) -> None:
        import ray

        context = ray.get_runtime_context()
        self._counter = _counter_of(context.get_job_id(), context.get_node_id())
        self._stream = uuid4().hex

    def beat(self, memory: int = 0) -> None:
        """Count one beat, of a process whose memory so far was at most this in bytes, 0 if unsaid; does not wait."""
        self._counter.beat.remote(self._stream, memory)

    def tick(self, step: int) -> None:
        """Count one beat, and note the number of steps of a training that are done; does not wait."""
        self._counter.tick.remote(self._stream, step)

    def status(self) -> Any:
        """Ask for the number of beats and the steps done, and return the reference of the answer."""
        return self._counter.status.remote(self._stream)

    def through(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items of a task, and beat before the first and every sixteenth."""
        for number, item in enumerate(items):
            if number % BEAT_EVERY == 0:
                self.beat()
            yield item

    def memory(self) -> int | None:
        """Return the highest memory that a process said, in bytes; None where none did, or the counter is lost."""
        return self._ask("memory") or None

    def beats(self) -> int | None:
        """Return the number of beats so far, from 0 again after the counter's process died; None until it is back."""
        return self._ask("beats")

    def _ask(self, what: str) -> int | None:
        import ray

        try:
            answer: int = ray.get(getattr(self._counter, what).remote(self._stream), timeout=BEATS_SECONDS)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            return None
        return answer


class Unheard(Heartbeat):
    """Beats of work in the driver itself, which nobody counts."""

    def __init__(self) -> None:
        pass

    def beat(self, memory: int = 0) -> None:
        """Do nothing."""

    def tick(self, step: int) -> None:
        """Do nothing."""

    def _ask(self, what: str) -> None:
        return None


def forget_memory() -> None:
    """Let :func:`peak_memory` begin anew, where Linux can: Ray may make an actor of a process that did other work."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Return the most memory in bytes that this process had so far, its shared pages included."""
    # Linux counts in kB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def watched(
    rows: Iterator[dict[str, Any]],
    heartbeat: Heartbeat,
    limit: float,
    stalled: Callable[[], DatusError],
    look_every: float = LOOK_EVERY,
    on_beat: Callable[[], None] = lambda: None,
) -> Generator[dict[str, Any]]:
    """Yield rows as they come, and raise what `stalled` returns after `limit` seconds with neither a row nor a beat.

    The rows are drawn in a thread of their own, which ends when this generator is closed; the heartbeat is looked at
    every `look_every` seconds without a row, and `on_beat` called where there was a beat since the last look.
    """
    arrived: queue.Queue[Any] = queue.Queue()
    end, closed = object(), threading.Event()

    def draw() -> None:
        try:
            for row in rows:
                if closed.is_set():
                    break
                arrived.put(row)
            arrived.put(end)
        except BaseException as error:
            arrived.put(error)
        finally:
            if close := getattr(rows, "close", None):
                close()  # stops the execution behind them

    threading.Thread(target=draw, daemon=True, name="rows").start()
    alive = time.monotonic()
    beats: int | None = 0
    try:
        while True:
            try:
                row = arrived.get(timeout=look_every)
            except queue.Empty:
                now = heartbeat.beats()
                if now is not None and now != beats:
                    on_beat()
                    alive, beats = time.monotonic(), now
                elif time.monotonic() - alive > limit:
                    raise stalled() from None
                continue
            if row is end:
                return
            if isinstance(row, BaseException):
                raise row
            alive = time.monotonic()
            yield row
    finally:
        closed.set()
