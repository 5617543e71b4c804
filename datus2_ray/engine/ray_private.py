"""What the project uses of Ray's private interface, all of it, pinned to Ray 2.60."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def alive_nodes() -> list[dict[str, float]]:
    """Return the resources in all of every node that is alive."""
    import ray

    listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in listed if node["Alive"]]


def started_here() -> bool:
    """Return whether this process started the Ray that it is connected to."""
    import ray

    started: Any = ray._private.worker._global_node
    return bool(started and started.head)


@contextmanager
def without_idle_processes() -> Iterator[None]:
    """Let a local Ray start without processes that it does not use, each of which takes a second.

    They are the autoscaler's monitor, which also takes a second to end, the monitor of logs, which are not shown, and
    the server of the dashboard, which ``include_dashboard=False`` only makes smaller.
    """
    from ray._private.node import Node

    kept = {name: getattr(Node, name) for name in ("start_monitor", "start_log_monitor", "start_api_server")}
    for name in kept:
        setattr(Node, name, lambda self, **named: None)
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Node, name, method)


def without_statistics() -> None:
    """Let Ray Data in this process start no actor for its statistics, which only the dashboard shows."""
    from uuid import uuid4

    from ray.data._internal.stats import _StatsManager

    for name in ("update_execution_metrics", "update_iteration_metrics", "register_dataset_to_stats_actor"):
        setattr(_StatsManager, name, staticmethod(lambda *arguments, **named: None))
    _StatsManager.gen_dataset_id_from_stats_actor = staticmethod(lambda: uuid4().hex)  # type: ignore[method-assign]


def has_token() -> bool:
    """Return whether Ray finds a token for a cluster, by its own search in variables and files; it reads them once."""
    from ray import _raylet

    loader: Any = _raylet
    return bool(loader.AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))


def resources_of_this_machine() -> tuple[int, int, int]:
    """Return the CPUs, GPUs and bytes of memory that a Ray started here would have.

    Ray's own count, which knows containers and CUDA_VISIBLE_DEVICES: any other could differ from it.
    """
    from ray._private.resource_and_label_spec import ResourceAndLabelSpec

    spec = ResourceAndLabelSpec().resolve(is_head=True)
    return int(spec.num_cpus or 0), int(spec.num_gpus or 0), int(spec.memory or 0)


def map_whole_blocks(dataset: Any, operator: Any, arguments: tuple[Any, ...], **options: Any) -> Any:
    """Add an actor pool whose actors take whole blocks.

    The public ``map_batches`` refuses ``batch_size=None`` with GPUs, lest a block overflow one.
    """
    return dataset.map_batches_internal(
        operator, fn_constructor_args=arguments, batch_size=None, batch_format="pyarrow", **options
    )


def stop_execution(dataset: Any) -> None:
    """Stop what a data set's iterator executes, from another thread than the one that draws from it."""
    executor = dataset._current_executor
    if executor is not None:
        executor.shutdown(force=True)
