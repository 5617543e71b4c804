"""Whether this machine, its Ray, its store and its weights are fit for a run: a list of checks, each with a remedy."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from datus2_ray.engine.machines import Machines
from datus2_ray.engine.session import joined_address, start_ray
from datus2_ray.errors import DatusError
from datus2_ray.store import s3, storage
from datus2_ray.store.weights_cache import local_spec

#: Free space under which a run may fail on the way: Ray stops spilling at 95 % full, and sessions take a few GB.
LEAST_DISK = 5_000_000_000


@dataclass(frozen=True)
class Subject:
    """What is looked at.

    Parameters
    ----------
    source : str or None
        URI that is to be read.
    backbone : str or None
        As ``--backbone`` takes it; None is the packaged one.
    """

    source: str | None = None
    backbone: str | None = None


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Parameters
    ----------
    state : str
        ``ok``; ``warning``, where a run may suffer; ``failure``, where it cannot work.
    text : str
        What was seen and, but for ``ok``, what to do. It never holds a key or a token.
    """

    state: Literal["ok", "warning", "failure"]
    text: str


def diagnose(subject: Subject) -> list[tuple[str, Finding]]:
    """Make every check, in an order in which what a later one needs comes first; each gives its name and finding."""
    return [(name, check(subject)) for name, check in CHECKS]


def check_python(subject: Subject) -> Finding:
    """Compare Python and the packages with the ranges that this package was made for."""
    wrong = [] if (3, 11) <= sys.version_info[:2] < (3, 14) else [f"Python {sys.version.split()[0]}, not 3.11-3.13"]
    try:
        needed = requires("datus2-ray") or []
    except PackageNotFoundError:
        return Finding("warning", "datus2-ray is not installed here, so its packages are not compared; install it")
    for line in needed:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found}, not {requirement.specifier}")
    if wrong:
        return Finding("failure", f"{'; '.join(wrong)}; install with: pip install -c constraints.txt .")
    shown = ", ".join(f"{name} {version(name)}" for name in ("ray", "torch", "timm"))
    return Finding("ok", f"Python {sys.version.split()[0]}, {shown}")


def check_authentication(subject: Subject) -> Finding:
    """See that a cluster that wants a token will get one."""
    from ray import _raylet

    tokens: Any = _raylet
    mode = os.environ.get("RAY_AUTH_MODE")
    if joined_address() is None:
        return Finding("ok", f"a local Ray, RAY_AUTH_MODE={mode or 'disabled'}")
    # Ray's own search, which knows every variable and file that may hold one.
    held = tokens.AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
    if mode == "token" and not held:
        return Finding("failure", "RAY_AUTH_MODE=token, but there is no token; set RAY_AUTH_TOKEN to the cluster's")
    if mode is None:
        return Finding(
            "warning",
            f"RAY_AUTH_MODE is not set, and a token is {'there' if held else 'not there'}; where the cluster refuses "
            "this client, set RAY_AUTH_MODE=token and its token in RAY_AUTH_TOKEN, else RAY_AUTH_MODE=disabled",
        )
    return Finding("ok", f"RAY_AUTH_MODE={mode}" + (", and a token is there" if mode == "token" else ""))


def check_ray(subject: Subject) -> Finding:
    """Start a local Ray, or join the cluster, and see what it has."""
    address = joined_address()
    try:
        start_ray(no_progress_seconds=180)
    except DatusError as error:
        return Finding("failure", str(error))
    except Exception as error:  # what Ray raises where it cannot start has no common type
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Finding("failure", f"Ray does not start ({reason}); see the logs in {tempfile.gettempdir()}/ray")
    cluster = Machines.now()
    count = len(cluster.nodes)
    nodes = "1 node" if count == 1 else f"{count} nodes"
    has = f"{nodes}, {cluster.cpus} CPUs, {cluster.gpus} GPUs, {cluster.memory / 1e9:.1f} GB"
    started = f"joined {address}" if address else "started on this machine"
    if cluster.cpus < 1:
        return Finding("failure", f"{started}: {has}; tasks need a CPU, start Ray with --num-cpus of at least 1")
    return Finding("ok", f"{started}: {has}")


def check_shared_memory(subject: Subject) -> Finding:
    """Compare /dev/shm with Ray's object store, which lies in it: a container's default of 64 MB is the usual trap."""
    import ray

    if not ray.is_initialized():
        return Finding("warning", "not looked at, for Ray did not start")
    here = ray.get_runtime_context().get_node_id()
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    store = next((node["Resources"].get("object_store_memory", 0.0) for node in nodes if node["NodeID"] == here), 0.0)
    if not Path("/dev/shm").is_dir():
        return Finding("ok", f"object store of {store / 1e9:.1f} GB; this system has no /dev/shm")
    total = shutil.disk_usage("/dev/shm").total
    seen = f"/dev/shm has {total / 1e9:.1f} GB, Ray's object store {store / 1e9:.1f} GB"
    if total < store or total < 1e9:
        return Finding("warning", f"{seen}: Ray must use the disk, which is slow; start the container with --shm-size")
    return Finding("ok", seen)


def check_disk(subject: Subject) -> Finding:
    """Look at the space for Ray's sessions and for objects that do not fit in memory."""
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    usage = shutil.disk_usage(folder)
    seen = f"{folder} has {usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB free"
    if usage.free < LEAST_DISK or usage.free < 0.05 * usage.total:
        return Finding("warning", f"{seen}; free some, or set RAY_TMPDIR to a larger disk: Ray stops when it is full")
    return Finding("ok", seen)


def check_gpus(subject: Subject) -> Finding:
    """Compare the GPUs that Ray hands out with those that torch can use."""
    import ray
    import torch

    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cluster = Machines.now() if ray.is_initialized() else Machines.of_this_machine()
    if here:
        names = ", ".join(sorted({torch.cuda.get_device_name(i) for i in range(here)}))
        if not cluster.gpus:
            return Finding("warning", f"torch sees {here} GPUs ({names}), Ray none; start Ray with --num-gpus={here}")
        return Finding("ok", f"{names}: torch sees {here} here, Ray {cluster.gpus} in all")
    if cluster.gpus and not cluster.joined:
        build = "is a build for the CPU" if torch.version.cuda is None else f"for CUDA {torch.version.cuda} finds none"
        return Finding("failure", f"Ray has {cluster.gpus} GPUs, but torch {build}; install one that fits the driver")
    if cluster.gpus:
        return Finding("ok", f"Ray has {cluster.gpus} GPUs on other nodes; torch cannot be asked there from here")
    return Finding("ok", "no GPU: models compute on the CPU")


def check_store(subject: Subject) -> Finding:
    """See that the source can be listed and, where it lies in a bucket, with which settings."""
    store = f"store {s3.endpoint() or 'of AWS'}"
    named = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN") if os.environ.get(name)]
    keys = f"credentials by {', '.join(named)}" if named else "credentials by the machine's role or ~/.aws, if any"
    if subject.source is None:
        return Finding("ok", f"{store}, {keys}; give --source to try it")
    try:
        count = len(storage.list_files(subject.source))
    except DatusError as error:
        return Finding("failure", str(error))
    where = f" ({store}, {keys})" if subject.source.startswith("s3://") else ""
    if not count:
        return Finding("failure", f"{subject.source} holds no files{where}; correct the URI")
    return Finding("ok", f"{subject.source} holds {count:,} files{where}")


def check_weights(subject: Subject) -> Finding:
    """Load the backbone as an actor would."""
    from datus2_ray.core.backbone.spec import is_supervised, parse_spec
    from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE, fingerprint, load_backbone

    named = subject.backbone or DEFAULT_BACKBONE
    try:
        local = local_spec(named)
        backbone = load_backbone(local)
        supervised = is_supervised(parse_spec(local))
    except DatusError as error:
        return Finding("failure", str(error))
    seen = f"{backbone.name}: {backbone.depth} blocks of {backbone.dim}, {fingerprint(local)}"
    if not backbone.trained:
        return Finding("warning", f"{seen}; it is UNTRAINED: its masks show the steps, not the quality")
    if supervised:
        return Finding("warning", f"{seen}; it was trained WITH LABELS: masks made with it are not unsupervised")
    return Finding("ok", seen)


def check_extras(subject: Subject) -> Finding:
    """Look for what only some commands need."""
    if find_spec("lightly") is None:
        return Finding("ok", "lightly is not there; for `datus2 pretrain`: pip install 'datus2-ray[pretrain]'")
    return Finding("ok", f"lightly {version('lightly')}, for `datus2 pretrain`")


#: Every check and its name, in order.
CHECKS: tuple[tuple[str, Callable[[Subject], Finding]], ...] = (
    ("packages", check_python),
    ("authentication", check_authentication),
    ("ray", check_ray),
    ("shared memory", check_shared_memory),
    ("disk", check_disk),
    ("GPUs", check_gpus),
    ("store", check_store),
    ("weights", check_weights),
    ("extras", check_extras),
)
