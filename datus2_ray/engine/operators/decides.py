"""What decides the segments of an image, for the fingerprints of sample and discover; and how their images are read."""

from __future__ import annotations

from typing import Any

from datus2_ray.core.backbone.spec import fingerprint, patch_side
from datus2_ray.core.views.windows import LARGE, Windows
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.operators.read_images import ReadImages
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Model
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store.facts import Ingested
from datus2_ray.store.weights_cache import local_spec

#: One forward pass per image, wherever tokens or graphs are needed.
EMBED_IMAGES = Model("datus2_ray.engine.operators.embed", "EmbedImages")


def segmentation_decides(run: Run, device: Device) -> dict[str, Any]:
    """Return the settings that decide segments and descriptors on a device."""
    config = run.config.discover
    decides = {name: value for name, value in config.identity().items() if name not in ("grid", "input_size", "window")}
    # What is seen counts, whether it was given in patches or in pixels.
    decides["input_size"] = input_side(run)
    if (windows := large_windows(run)) is not None:
        decides["window"] = windows.window
    # Weights count by content, not by place.
    decides["backbone"] = fingerprint(local_spec(run.backbone))
    decides["cnn"] = fingerprint(local_spec(str(config.cnn))) if config.descriptor == "cnn" else None
    if config.louvain in ("networkx", "python-louvain") or config.louvain_orders > 1:
        decides["seed"] = run.config.seed  # else Louvain takes no random choice
    if device != "cpu" or config.arithmetic(device) != "float32" or config.compile:
        # An image's result may depend on what shares its batch.
        decides["batches"] = config.batch_sizes(device)
    return decides


def input_side(run: Run) -> int:
    """Return the side in pixels of the square that the backbone sees; with ``keep_aspect``, the shorter side."""
    config = run.config.discover
    return config.input_size or config.side(_patch(run))


def image_reader(run: Run, heartbeat: Heartbeat) -> ReadImages:
    """Return the operator that decodes the images of a part at the size that the backbone sees."""
    config = run.config.discover
    patch = _patch(run) if config.keep_aspect else None
    table = ImagesTable.of(run.commit(Ingested))
    return ReadImages(table, input_side(run), heartbeat, config.reduced_decoding, patch, large_windows(run))


def large_windows(run: Run) -> Windows | None:
    """Return how large images are seen; None where no image is large, or all are to be seen whole."""
    window, ingested = run.config.discover.window, run.find(Ingested)
    if window is None or ingested is None or ingested.facts.longest <= LARGE * window:
        return None
    return Windows(window, input_side(run), _patch(run))


def window_lines(run: Run) -> list[str]:
    """Return a line that says which images are seen in windows, if there are any."""
    if (windows := large_windows(run)) is None:
        return []
    return [
        f"images of more than {LARGE * windows.window:,} pixels along a side (the largest has "
        f"{run.facts(Ingested).longest:,}) are seen in overlapping windows of {windows.window:,}; to see all whole, "
        "which takes less time: --set discover.window=null"
    ]


def _patch(run: Run) -> int:
    return patch_side(local_spec(run.backbone))
