"""Checks whether this machine, its Ray, its store and its weights are fit for a run, each with a remedy."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from datus2_ray.engine import ray_private
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.session import joined_address, start_ray
from datus2_ray.errors import DatusError
from datus2_ray.sources.place import find_place
from datus2_ray.store import s3, storage
from datus2_ray.store.weights_cache import local_spec

#: Bytes of free space below which a run may fail: Ray stops spilling at 95 % full, and sessions take a few GB.
MIN_DISK = 5_000_000_000


@dataclass(frozen=True)
class Finding:
    """Result of a check.

    Parameters
    ----------
    state : str
        ``ok``; ``warning``, if a run may suffer; ``failure``, if it cannot work.
    text : str
        What was found and, unless ``ok``, what to do. It never holds a key or a token.
    """

    state: Literal["ok", "warning", "failure"]
    text: str


def diagnose(source: str | None = None, backbone: str | None = None) -> list[tuple[str, Finding]]:
    """Make every check and return names and findings.

    Parameters
    ----------
    source : str, optional
        URI that is to be read.
    backbone : str, optional
        As ``--backbone`` takes it; default the packaged one.
    """
    # Ray is started by its check, for those after it.
    return [
        ("packages", check_packages()),
        ("authentication", check_authentication()),
        ("ray", check_ray()),
        ("shared memory", check_shared_memory()),
        ("disk", check_disk()),
        ("GPUs", check_gpus()),
        ("store", check_store(source)),
        ("weights", check_weights(backbone)),
        ("extras", check_extras()),
    ]


def check_packages() -> Finding:
    """Compare the versions of Python and of the packages with the ranges that this package allows."""
    wrong = [] if (3, 11) <= sys.version_info[:2] < (3, 14) else [f"Python {sys.version.split()[0]}, not 3.11-3.13"]
    try:
        needed = requires("datus2-ray") or []
    except PackageNotFoundError:
        return Finding("warning", "datus2-ray is not installed here, so its packages are not compared; install it")
    for requirement in map(Requirement, needed):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed}, not {requirement.specifier}")
    if wrong:
        return Finding("failure", f"{'; '.join(wrong)}; install with: pip install -c constraints.txt .")
    versions = ", ".join(f"{name} {version(name)}" for name in ("ray", "torch", "timm"))
    return Finding("ok", f"Python {sys.version.split()[0]}, {versions}")


def check_authentication() -> Finding:
    """Check that a cluster that requires a token will get one."""
    address, mode = joined_address(), os.environ.get("RAY_AUTH_MODE")
    return judge_authentication(address, mode, address is not None and ray_private.has_token())


def judge_authentication(address: str | None, mode: str | None, has_token: bool) -> Finding:
    """Judge how this machine would connect to the cluster at an address, or to a local Ray."""
    if address is None:
        return Finding("ok", f"a local Ray, RAY_AUTH_MODE={mode or 'disabled'}")
    if mode == "token" and not has_token:
        return Finding("failure", "RAY_AUTH_MODE=token, but there is no token; set RAY_AUTH_TOKEN to the cluster's")
    if mode is None:
        return Finding(
            "warning",
            f"RAY_AUTH_MODE is not set, and a token is {'there' if has_token else 'not there'}; if the cluster refuses "
            "this client, set RAY_AUTH_MODE=token and its token in RAY_AUTH_TOKEN, else RAY_AUTH_MODE=disabled",
        )
    return Finding("ok", f"RAY_AUTH_MODE={mode}" + (", and a token is there" if mode == "token" else ""))


def check_ray() -> Finding:
    """Start a local Ray, or join the cluster, and return what it has."""
    address = joined_address()
    try:
        start_ray(no_progress_seconds=180)
    except DatusError as error:
        return Finding("failure", str(error))
    except Exception as error:  # what Ray raises if it cannot start has no common type
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Finding("failure", f"Ray does not start ({reason}); see the logs in {tempfile.gettempdir()}/ray")
    machines = Machines.now()
    count = len(machines.nodes)
    text = (
        f"{f'joined {address}' if address else 'started on this machine'}: {count} node{'s' * (count > 1)}, "
        f"{machines.cpus} CPUs, {machines.gpus} GPUs, {machines.memory / 1e9:.1f} GB"
    )
    if machines.cpus < 1:
        return Finding("failure", f"{text}; tasks need a CPU, start Ray with --num-cpus of at least 1")
    return Finding("ok", text)


def check_shared_memory() -> Finding:
    """Compare /dev/shm with Ray's object store, which lies in it; a container has too little by default: 64 MB."""
    import ray

    if not ray.is_initialized():
        return Finding("warning", "not checked, because Ray did not start")
    node_id = ray.get_runtime_context().get_node_id()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] == node_id]  # type: ignore[no-untyped-call]
    store = nodes[0]["Resources"].get("object_store_memory", 0.0) if nodes else 0.0
    if not Path("/dev/shm").is_dir():
        return Finding("ok", f"object store of {store / 1e9:.1f} GB; this system has no /dev/shm")
    total = shutil.disk_usage("/dev/shm").total
    text = f"/dev/shm has {total / 1e9:.1f} GB, Ray's object store {store / 1e9:.1f} GB"
    if total < store or total < 1e9:
        return Finding("warning", f"{text}: Ray must use the disk, which is slow; start the container with --shm-size")
    return Finding("ok", text)


def check_disk() -> Finding:
    """Check the space for Ray's sessions and for objects that do not fit in memory."""
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    usage = shutil.disk_usage(folder)
    text = f"{folder} has {usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB free"
    if usage.free < MIN_DISK or usage.free < 0.05 * usage.total:
        return Finding("warning", f"{text}; free some, or set RAY_TMPDIR to a larger disk: Ray stops when it is full")
    return Finding("ok", text)


def check_gpus() -> Finding:
    """Compare the GPUs that Ray hands out with those that torch can use."""
    import ray
    import torch

    local = torch.cuda.device_count() if torch.cuda.is_available() else 0
    machines = Machines.now() if ray.is_initialized() else Machines.of_this_machine()
    if local:
        names = ", ".join(sorted({torch.cuda.get_device_name(i) for i in range(local)}))
        if not machines.gpus:
            return Finding("warning", f"torch sees {local} GPUs ({names}), Ray none; start Ray with --num-gpus={local}")
        return Finding("ok", f"{names}: torch sees {local} here, Ray {machines.gpus} in all")
    if machines.gpus and not machines.joined:
        build = "is a build for the CPU" if torch.version.cuda is None else f"for CUDA {torch.version.cuda} finds none"
        return Finding("failure", f"Ray has {machines.gpus} GPUs, but torch {build}; install one that fits the driver")
    if machines.gpus:
        return Finding("ok", f"Ray has {machines.gpus} GPUs on other nodes; torch cannot be asked there from here")
    return Finding("ok", "no GPU: models compute on the CPU")


def check_store(source: str | None) -> Finding:
    """Check that the source can be listed; in a bucket, say by which endpoint and credentials."""
    store = f"store {s3.endpoint() or 'of AWS'}"
    variables = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN") if os.environ.get(name)]
    keys = f"credentials by {', '.join(variables) or 'the role of the machine or ~/.aws, if any'}"
    if source is None:
        return Finding("ok", f"{store}, {keys}; give --source to try it")
    try:
        count = len(find_place(storage.absolute(source), "").files)
    except DatusError as error:
        return Finding("failure", str(error))
    place = f" ({store}, {keys})" if source.startswith("s3://") else ""
    if not count:
        return Finding("failure", f"{source} holds no files{place}; correct the URI")
    return Finding("ok", f"{source} holds {count:,} files{place}")


def check_weights(backbone: str | None) -> Finding:
    """Load the backbone as an actor would."""
    from datus2_ray.core.backbone.spec import is_assumed, is_supervised, parse_spec
    from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE, fingerprint, load_backbone

    try:
        local = local_spec(backbone or DEFAULT_BACKBONE)
        loaded = load_backbone(local)
        supervised, assumed = is_supervised(parse_spec(local)), is_assumed(parse_spec(local))
    except DatusError as error:
        return Finding("failure", str(error))
    text = f"{loaded.name}: {loaded.depth} blocks of {loaded.dim}, {fingerprint(local)}"
    if assumed:
        text += (
            "; it names no mean and deviation of pixels, so that ImageNet's are taken: name others in a JSON beside it"
        )
    if not loaded.trained:
        return Finding("warning", f"{text}; it is UNTRAINED: its masks show the steps, not the quality")
    if supervised:
        return Finding("warning", f"{text}; it was trained WITH LABELS: masks made with it are not unsupervised")
    return Finding("ok", text)


def check_extras() -> Finding:
    """Check the packages that only some commands need."""
    if find_spec("lightly") is None:
        return Finding("ok", "lightly is not installed; for `datus2 pretrain`: pip install 'datus2-ray[pretrain]'")
    return Finding("ok", f"lightly {version('lightly')}, for `datus2 pretrain`")
