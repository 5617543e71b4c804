"""What a command would do on this cluster, found without doing any of it; what cannot run there is refused."""

from __future__ import annotations

from dataclasses import dataclass

from datus2_ray.config.load import RunConfig
from datus2_ray.engine.machines import ACTOR_MEMORY, Cluster, Device, choose_device, require_cpu
from datus2_ray.engine.pools import Pool, plan_pool
from datus2_ray.engine.session import joined_address, look_at_cluster
from datus2_ray.engine.training_workers import PAIRS_MEMORY, pretrain_split, pretrain_workers, refine_workers
from datus2_ray.errors import BackboneError
from datus2_ray.sources import layouts
from datus2_ray.sources.listing import Listing, is_counted, list_source
from datus2_ray.sources.sampling import sample_parts
from datus2_ray.store import storage
from datus2_ray.store.run_folder import RunFolder

#: Bytes for every pair of patches while a graph is made (measured: 11).
GRAPH_BYTES = 12

#: The least side of patches in use, in pixels.
SMALL_PATCH = 8


@dataclass(frozen=True)
class StagePlan:
    """One row of the plan: something that a stage puts on the cluster.

    Parameters
    ----------
    stage, runs : str
        The stage, and what of it: ``tasks``, ``embed``, ``workers`` and so on.
    least, most : int
        How many at once, and how many it may grow to.
    device : str
        Where they compute.
    gpus : float
        GPUs that each reserves.
    parts : int or None
        Units of work that they share; None where the work is not cut into parts.
    memory : int or None
        Bytes that `most` of them are expected to take; None where it depends on what the images show.
    """

    stage: str
    runs: str
    least: int
    most: int
    device: Device = "cpu"
    gpus: float = 0.0
    parts: int | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a command would do.

    Parameters
    ----------
    source : Listing
        What it would read.
    cluster : Cluster
        Where.
    device : str
        Where its models compute.
    stages : tuple of StagePlan
        What it would put there, in order.
    notes : tuple of str
        What is left out, and what may keep it waiting.
    """

    source: Listing
    cluster: Cluster
    device: Device
    stages: tuple[StagePlan, ...]
    notes: tuple[str, ...]


def plan_run(config: RunConfig) -> Plan:
    """Plan a run.

    Raises
    ------
    DatusError
        It cannot run: with these settings, on this source, or on this cluster. The message says what to change.
    """
    cluster, device = _placed(config, "run")
    source = list_source(config, labelled=True)
    parts = len(source.parts)
    embed = plan_pool(cluster, device, config.discover, config.discover.pools, parts)
    tasks = min(cluster.cpus, parts)
    holders = config.cluster.workers or cluster.cpus
    notes = _waits(config, cluster, device)
    expected = embed.most * config.discover.pools * ACTOR_MEMORY
    if device == "cpu" and expected > cluster.memory:
        notes.append("with a large backbone memory may run short in discover; lower discover.actors where it does")
    # Where the aspect is kept, photographs of 4 to 3 are expected; a panorama takes more.
    width = config.discover.input_size * 4 // 3 if config.discover.keep_aspect else config.discover.input_size
    graph = GRAPH_BYTES * (config.discover.input_size * width // SMALL_PATCH**2) ** 2
    if graph > ACTOR_MEMORY // 2:
        notes.append(
            f"an image's graph takes up to {graph / 1e9:.1f} GB more in every actor (patches of {SMALL_PATCH} pixels); "
            "lower discover.actors, or discover.input_size, where memory runs short"
        )
    stages = [_ingest(source, tasks)]
    counted = config.clusters is not None or is_counted(source.dataset, source.labelled)
    if config.discover.resolution == "auto" or not counted:
        sampled = len(sample_parts(source.counts))
        pool = plan_pool(cluster, device, config.discover, 1, sampled)
        stages.append(_actors("sample", "embed", pool, sampled))
    stages += [
        _read("discover", source, tasks, config.discover.input_size * width),
        _actors("discover", "embed", embed, parts),
    ]
    if config.discover.pools > 1:
        stages.append(_actors("discover", "describe", embed, parts))
    stages.append(StagePlan("cluster", "shard holders", holders, holders))
    stages.append(StagePlan("label", "tasks", tasks, tasks, parts=parts))
    if not config.refine.enabled:
        notes.append("no refinement: it is switched off")
    elif source.images < config.refine.min_images:
        notes.append(f"no refinement: {source.images} images, under refine.min_images = {config.refine.min_images}")
    else:
        workers = refine_workers(config.refine, source.images, cluster, device)
        kept = min(PAIRS_MEMORY, 4 * config.refine.size**2 * source.images // workers)
        stages.append(_workers("refine", workers, device, kept))
        pool = plan_pool(cluster, device, config.discover, 1, parts)
        stages.append(_read("predict", source, tasks, config.refine.size**2))
        stages.append(_actors("predict", "segment", pool, parts))
    if source.labelled:
        if config.evaluate.token_kmeans:
            stages.append(StagePlan("baseline", "shard holders", holders, holders))
        stages.append(StagePlan("evaluate", "tasks", tasks, tasks, parts=parts))
    else:
        notes.append("no scores: the source has no masks")
    return Plan(source, cluster, device, tuple(stages), tuple(notes))


def plan_pretraining(config: RunConfig) -> Plan:
    """Plan a pre-training; raises as :func:`plan_run` does."""
    cluster, device = _placed(config, "pretrain")
    source = list_source(config, labelled=False)
    workers = pretrain_workers(config.pretrain, cluster, device)
    trained_on, _ = pretrain_split(config.pretrain, source.images)
    held = min(3 * config.pretrain.image_size**2 * trained_on // workers, int(config.pretrain.memory * 1e9))
    stages = (
        _ingest(source, min(cluster.cpus, len(source.parts))),
        _workers("pretrain", workers, device, held),
    )
    return Plan(source, cluster, device, stages, tuple(_waits(config, cluster, device)))


def see_weights(config: RunConfig) -> None:
    """See that what the settings name as weights is there and loads, without fetching any, and what compiles them.

    Raises
    ------
    BackboneError
        A name that timm does not know, a file that does not exist or is not a backbone's or a ResNet's, windows or
        images of the refinement that patches do not fill, or no C++ compiler on this machine where it is the one that
        computes.
    """
    if config.discover.compile and joined_address() is None:
        from datus2_ray.core.backbone.vit import require_compiler

        require_compiler()
    cnn = config.discover.cnn if config.discover.descriptor == "cnn" else None
    start = config.refine.encoder_start if config.refine.enabled else "random"
    encoder = None if start in ("random", "supervised") else start
    for spec in filter(None, (config.backbone, cnn, encoder)):
        uri = spec.partition("::")[0]
        if "://" in uri:
            if storage.find_file(uri) is None:
                raise BackboneError(
                    f"there is no weights file {uri}; give one that exists, or the name of a timm model"
                )
            continue
        # Imported here, as what follows: timm and torch take seconds, and most runs name none.
        from datus2_ray.core.backbone.spec import parse_spec

        parsed = parse_spec(spec)
        if parsed.file is not None and spec != config.backbone:
            from datus2_ray.core.backbone.architecture import load_timm
            from datus2_ray.core.backbone.cnn import RESNET
            from datus2_ray.core.refine.encoder_start import ENCODER

            load_timm(parsed, RESNET if spec == cnn else ENCODER)
    if "://" not in (config.backbone or ""):
        see_backbone(config)


def see_backbone(config: RunConfig, fetched: str | None = None) -> None:
    """See that a backbone's file loads, and that windows and images of the refinement can be cut into its patches.

    Actors that fail while they start cannot be kept from telling it by pages of Ray's traces.

    Parameters
    ----------
    config : RunConfig
        The settings.
    fetched : str, optional
        What the backbone, an URI, was fetched to; default the backbone itself.

    Raises
    ------
    BackboneError
        It does not, or they cannot.
    """
    named = fetched or config.backbone
    if named is not None:
        # Imported here: torch takes seconds.
        from datus2_ray.core.backbone.spec import parse_spec
        from datus2_ray.core.backbone.vit import load_backbone

        if parse_spec(named).file is not None:
            load_backbone(named)
    linear = config.refine.enabled and config.refine.network == "linear"
    if config.discover.tile is None and not linear:
        return
    from datus2_ray.core.backbone.patches import check_tile
    from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE, patch_side
    from datus2_ray.core.refine.token_layer import check_size

    side = patch_side(named or DEFAULT_BACKBONE)
    check_tile(side, config.discover.tile)
    if linear:
        check_size(side, config.refine.size)


def _placed(config: RunConfig, command: str) -> tuple[Cluster, Device]:
    """Check what needs no look at the source: that comes first, a listing of millions of objects takes minutes."""
    layouts.find(config.dataset)
    RunFolder(config.out).see_free(config.source, command)
    cluster = look_at_cluster(config.no_progress_seconds)
    require_cpu(cluster)
    return cluster, choose_device(cluster, config.device)


def _ingest(source: Listing, tasks: int) -> StagePlan:
    return StagePlan(
        "ingest", "tasks", tasks, tasks, parts=len(source.parts), memory=tasks * max(source.sizes.values(), default=0)
    )


def _actors(stage: str, runs: str, pool: Pool, parts: int) -> StagePlan:
    memory = pool.most * ACTOR_MEMORY
    return StagePlan(stage, runs, pool.least, pool.most, pool.device, pool.num_gpus, parts, memory)


def _workers(stage: str, workers: int, device: Device, images: int = 0) -> StagePlan:
    gpus = 1.0 if device == "cuda" else 0.0
    return StagePlan(stage, "workers", workers, workers, device, gpus, memory=workers * (ACTOR_MEMORY + images))


def _read(stage: str, source: Listing, tasks: int, pixels: int) -> StagePlan:
    size = max(source.counts.values(), default=0) * 3 * pixels
    return StagePlan(stage, "tasks", tasks, tasks, parts=len(source.parts), memory=tasks * size)


def _waits(config: RunConfig, cluster: Cluster, device: Device) -> list[str]:
    if device == "cpu" or cluster.gpus:
        return []
    return [
        "the cluster has no GPU yet: stages wait for its autoscaler to start some, and fail where nothing has moved "
        f"for no_progress_seconds = {config.no_progress_seconds}"
    ]
