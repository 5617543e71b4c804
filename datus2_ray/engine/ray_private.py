"""What the project uses of Ray's private interface, all of it, pinned to Ray 2.60."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Where a Ray notes that it was started with :func:`quick_start`, for all processes that are connected to it.
STARTED_QUICKLY, NAMESPACE = b"started_quickly", b"datus2_ray"

#: Seconds to look for a node before Ray itself does.
NODE_SECONDS = 20.0


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
def quick_start() -> Iterator[None]:
    """Let a local Ray start and end in half of the time.

    It starts without processes that it does not use, each of which takes a second: the autoscaler's monitor, which also
    takes a second to end, the monitor of logs, which are not shown, and the server of the dashboard, which
    ``include_dashboard=False`` only makes smaller. It sees that the node is there as soon as it is; Ray itself looks
    once a second.
    """
    from ray._private import services
    from ray._private.node import Node
    from ray._private.state import GlobalState
    from ray.experimental import internal_kv

    idle = {name: getattr(Node, name) for name in ("start_monitor", "start_log_monitor", "start_api_server")}
    get_node: Any = services.get_node
    options: Any = services._get_gcs_client_options
    make_state: Any = GlobalState

    def wait_and_get(address: str, node_id: str) -> Any:
        state = make_state()
        state._initialize_global_state(options(address))
        end = time.monotonic() + NODE_SECONDS
        while time.monotonic() < end and all(node["NodeID"] != node_id for node in state.node_table()):
            time.sleep(0.02)
        return get_node(address, node_id)

    for name in idle:
        setattr(Node, name, lambda self, **named: None)
    services.get_node = wait_and_get
    try:
        yield
    finally:
        services.get_node = get_node
        for name, method in idle.items():
            setattr(Node, name, method)
    internal_kv._internal_kv_put(STARTED_QUICKLY, b"1", namespace=NAMESPACE)


def without_messages() -> None:
    """Keep Ray's messages about processes that died off the driver's terminal: what fails for good is raised, too."""
    from ray._private import worker

    worker.print_to_stdstream = lambda *arguments, **named: None


def shut_down() -> None:
    """End Ray; a thread that still asks for something does not start another one, as Ray would let it."""
    import ray
    from ray._private import auto_init_hook

    auto_init_hook.enable_auto_connect = False
    ray.shutdown()


def started_quickly() -> bool:
    """Return whether the Ray that this process is connected to was started with :func:`quick_start`: one node alone."""
    from ray.experimental import internal_kv

    return internal_kv._internal_kv_get(STARTED_QUICKLY, namespace=NAMESPACE) is not None


def without_side_actors() -> None:
    """Let Ray Data in this process start no actors for what only a dashboard or several nodes need.

    Each of the three is a process, one second of a core, before the first task. One divides the nodes between data sets
    that are computed at the same time, and asks for more nodes; a driver computes one data set at a time. One knows on
    which node an actor is. On a cluster, to which the same process may connect later, these two are started as usual.
    The third keeps statistics; this process does without it from now on.
    """
    from uuid import uuid4

    from ray.data._internal.cluster_autoscaler import rate_based_cluster_autoscaler as autoscaler
    from ray.data._internal.execution.operators import actor_pool_map_operator as pools
    from ray.data._internal.stats import _StatsManager
    from ray.data._internal.utils import cached_ray_internals as cached

    for name in ("update_execution_metrics", "update_iteration_metrics", "register_dataset_to_stats_actor"):
        getattr(_StatsManager, name)  # raises where another version has other names
        setattr(_StatsManager, name, staticmethod(lambda *arguments, **named: None))
    _StatsManager.gen_dataset_id_from_stats_actor = staticmethod(lambda: uuid4().hex)  # type: ignore[method-assign]

    stand_ins: tuple[tuple[Any, str, type], ...] = (
        (autoscaler, "DefaultAutoscalingCoordinator", _OnlyNode),
        (pools, "get_or_create_actor_location_tracker", _Nowhere),
        (cached, "get_or_create_actor_location_tracker", _Nowhere),
    )
    for module, name, stand_in in stand_ins:
        if not isinstance(getattr(module, name), _IfQuick):
            setattr(module, name, _IfQuick(stand_in, getattr(module, name)))


class _IfQuick:
    """Calls the first of two functions on a Ray that was started quickly, else the second."""

    def __init__(self, quick: Any, usual: Any) -> None:
        self.quick, self.usual = quick, usual

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return (self.quick if started_quickly() else self.usual)(*arguments, **named)


class _OnlyNode:
    """Stands for the coordinator of a cluster's nodes: the data set of a driver has the only node."""

    def __init__(self, **named: Any) -> None:
        import ray

        listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        self._node = {node["NodeID"]: node["Resources"] for node in listed if node["Alive"]}

    def request_resources(self, **named: Any) -> None:
        """Do nothing: there are no more."""

    def cancel_request(self) -> None:
        """Do nothing."""

    def get_reserved_resources(self) -> dict[str, dict[str, float]]:
        """Return the resources of the node."""
        return self._node


class _Nowhere:
    """Stands for the handle of the actor that knows where actors are; Ray Data then uses where they started."""

    def __init__(self) -> None:
        self.update_actor_location, self.get_actor_locations = _Forget(), _Forget()


class _Forget:
    """Stands for a method of an actor."""

    def remote(self, *arguments: Any) -> Any:
        """Return a reference to an empty answer."""
        import ray

        return ray.put({})


@contextmanager
def quick_training() -> Iterator[None]:
    """Let trainings that this process starts do without what Ray Train needs on clusters only.

    Without the dashboard's address, which only :func:`quick_start` leaves out, a cleaner of placement groups would look
    for it for 20 s, and every training would wait 12 s for the cleaner at its end. A local Ray has no node that is
    preempted, and our trainings have no data set that Ray Train splits between workers: for each an actor would start
    with every group of workers.
    """
    from ray.train.v2._internal.execution import callback
    from ray.train.v2.api import data_parallel_trainer

    if not started_quickly():
        yield
        return
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    idle: Any = callback
    trainer: Any = data_parallel_trainer
    replaced = {name: getattr(trainer, name) for name in ("PlacementGroupCleanerCallback", "DatasetsCallback")}
    for name in replaced:
        setattr(trainer, name, lambda **named: idle.RayTrainCallback())
    try:
        yield
    finally:
        for name, own in replaced.items():
            setattr(trainer, name, own)


def note_groups(actor: Any) -> Any:
    """Return a callback of Ray Train that sends the placement group of every group of workers to `actor.note_group`.

    A group outlives a controller that is killed, as long as the driver lives.
    """
    from ray.train.v2._internal.execution import callback

    base: Any = callback

    def send(self: Any, worker_group: Any) -> None:
        actor.note_group.remote(worker_group.get_worker_group_state().placement_group_handle.placement_group)

    return type("NoteGroups", (base.WorkerGroupCallback,), {"after_worker_group_start": send})()


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
