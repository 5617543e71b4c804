from __future__ import annotations

from datus2_ray.config import load
from datus2_ray.config.presets import preset_values

FLAGS = {"source": "in", "out": "out"}


def test_paper_is_the_published_method() -> None:
    config = load(FLAGS, preset="paper")
    discover, cluster = config.discover, config.cluster
    assert (discover.grid, discover.input_size, discover.keep_aspect, discover.tile) == (None, 224, False, None)
    assert (discover.feature, discover.block, discover.blocks) == ("key", -1, 1)
    # compiled, in one order, finds scikit-network's partition (tests/core/graph/test_louvain.py)
    assert (discover.graph, discover.louvain, discover.louvain_orders) == ("binary", "compiled", 1)
    assert (discover.unit, discover.resolution, discover.tau, discover.noise) == ("segments", 1.0, 5, "kept")
    assert (discover.threshold, discover.place, discover.colour) == (0, 0, 0)
    assert (discover.descriptor, discover.mirror, discover.dtype) == ("cls", False, "float32")
    assert (cluster.metric, cluster.start, cluster.fine) == ("euclidean", "k-means++", None)
    assert (cluster.scaling, cluster.pca, cluster.weights) == ("none", None, "none")
    assert config.label.edges == "patches"
    assert (config.refine.em, config.refine.network) == (False, "deeplabv3")
    assert (config.refine.loss, config.refine.teacher) == ("cross-entropy", 0)


def test_best_is_what_was_measured_best() -> None:
    config = load(FLAGS, preset="best")
    discover, cluster, refine = config.discover, config.cluster, config.refine
    assert preset_values("best") == {}
    assert (discover.grid, discover.input_size) == (28, None)
    assert (discover.feature, discover.graph, discover.neighbours) == ("token", "neighbours", 16)
    assert (discover.unit, discover.place, discover.colour, discover.resolution) == ("segments", 0.2, 0.2, 3.0)
    assert (discover.noise, discover.descriptor, discover.tau) == ("given", "tokens", 5)
    assert (cluster.metric, cluster.scaling, cluster.restarts) == ("spherical", "centred", 1)
    assert (cluster.fine, cluster.votes) == (300, 10)
    assert (cluster.pca, cluster.whitening) == (64, 0.6)
    assert (refine.em, refine.network, refine.loss) == (True, "linear", "generalised")
    assert (refine.teacher, refine.mirror) == (0.97, True)


def test_fast_is_the_papers_method_but_for_what_costs_time() -> None:
    paper, fast = (load(FLAGS, preset=preset) for preset in ("paper", "fast"))
    quicker = {"dtype": "auto", "reduced_decoding": True, "louvain_orders": 4}
    assert fast.discover == paper.discover.model_copy(update=quicker)
    assert fast.cluster == paper.cluster.model_copy(update={"restarts": 3})
    assert (fast.label, fast.refine) == (paper.label, paper.refine)


def test_passes_fit_the_device_unless_settings_say_otherwise() -> None:
    fast, paper = (load(FLAGS, preset=preset).discover for preset in ("fast", "paper"))
    assert [fast.arithmetic(device) for device in ("cpu", "cuda")] == ["float32", "bfloat16"]
    assert [paper.arithmetic(device) for device in ("cpu", "cuda")] == ["float32", "float32"]
    assert [fast.batch_sizes(device) for device in ("cpu", "cuda")] == [(4, 4), (8, 32)]
    given = load(FLAGS, assignments=("discover.batch_size=3", "discover.crop_batch_size=5")).discover
    assert given.batch_sizes("cuda") == (3, 5)
