from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sknetwork.clustering import Louvain, get_modularity

from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE, load_backbone
from datus2_ray.core.graph.build import binary_affinity, pack
from datus2_ray.core.graph.links import unpack
from datus2_ray.core.graph.louvain import (
    LIBRARIES,
    ROUNDING,
    Partition,
    louvain,
    modularity,
    number_by_first,
    visiting_orders,
)
from datus2_ray.core.images import decode
from datus2_ray.core.images.resize import resize
from datus2_ray.demo.write import write_demo
from datus2_ray.errors import UsageError


def planted(
    groups: int = 4, size: int = 25, inside: float = 0.7, outside: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(groups), size)
    chance = np.where(truth[:, None] == truth[None], inside, outside)
    upper = np.triu(rng.random(chance.shape) < chance)
    return upper | upper.T, truth


def scikit_network(graph: sp.csr_matrix, resolution: float = 1.0) -> Partition:
    """Partition a graph as the paper does; into one community where no move gains."""
    if graph.dtype != bool:
        graph = graph.astype(np.float64)  # scikit-network truncates other numbers to integers
    if graph.nnz == 0:
        return Partition(np.zeros(graph.shape[0], dtype=np.int32), 0.0)
    labels = number_by_first(Louvain(resolution=resolution).fit_predict(graph))
    if modularity(graph, labels, resolution) <= modularity(graph, np.arange(len(labels)), resolution) + ROUNDING:
        labels[:] = 0
    return Partition(labels, get_modularity(graph, labels, resolution=resolution))


@pytest.mark.parametrize("library", ["compiled", *LIBRARIES])
def test_every_library_finds_planted_groups(library: str) -> None:
    adjacency, truth = planted()
    found = louvain(adjacency, library=library)
    np.testing.assert_array_equal(found.labels, truth)  # both are numbered by first node
    assert found.communities == 4
    assert found.labels.dtype == np.int32


@pytest.mark.parametrize("library", ["compiled", "networkx"])
def test_higher_resolution_never_gives_fewer_communities(library: str) -> None:
    adjacency, _ = planted(groups=3, size=30, inside=0.5, outside=0.2)
    counts = [louvain(adjacency, library=library, resolution=r, seed=1).communities for r in (0.3, 1.0, 1.6)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


@pytest.mark.parametrize("library", ["compiled", *LIBRARIES])
def test_one_seed_one_answer(library: str) -> None:
    adjacency, _ = planted(inside=0.3, outside=0.2)
    first, second = (louvain(adjacency, library=library, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first.labels, second.labels)


def test_python_louvain_refuses_a_resolution_that_it_gets_wrong() -> None:
    with pytest.raises(UsageError, match="resolution 1"):
        louvain(planted()[0], library="python-louvain", resolution=1.3)


@st.composite
def graphs(draw: st.DrawFn, weighted: bool) -> np.ndarray:
    """Draw a symmetric matrix with self-loops: from nearly empty to full, uniform or with groups."""
    nodes = draw(st.integers(1, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if draw(st.booleans()):
        chance = np.full((nodes, nodes), draw(st.sampled_from([0.01, 0.05, 0.3, 0.7, 0.95, 1.0])))
    else:
        group = rng.integers(0, draw(st.integers(1, 6)), nodes)
        chance = np.where(group[:, None] == group, draw(st.floats(0.2, 1)), draw(st.floats(0, 0.6)))
    upper = np.triu(rng.random((nodes, nodes)) < chance)
    if weighted:
        weights = np.triu(upper * rng.random((nodes, nodes)))
        return weights + np.triu(weights, 1).T
    return upper | upper.T


RESOLUTIONS = st.sampled_from([0.4, 1.0, 1.0, 1.9])


@settings(max_examples=200)
@given(graphs(weighted=False), RESOLUTIONS)
def test_compiled_gives_scikit_networks_partition_of_a_binary_graph(adjacency: np.ndarray, resolution: float) -> None:
    theirs = scikit_network(sp.csr_matrix(adjacency), resolution)
    ours = louvain(adjacency, resolution=resolution)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert ours.modularity == pytest.approx(theirs.modularity, abs=1e-12)


@settings(max_examples=200)
@given(graphs(weighted=True), RESOLUTIONS)
def test_compiled_gives_scikit_networks_partition_of_a_weighted_graph(weights: np.ndarray, resolution: float) -> None:
    graph = sp.csr_matrix(weights)
    theirs = scikit_network(graph, resolution)
    ours = louvain(graph, resolution=resolution)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert ours.modularity == pytest.approx(theirs.modularity, abs=1e-6)  # scikit-network's weights are float32


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_another_kind_of_number_counts_as_it_is_and_the_callers_graph_stays(kind: type) -> None:
    rng = np.random.default_rng(0)
    half = np.triu(rng.integers(0, 99, (60, 60)) * (rng.random((60, 60)) < 0.2)) / (1 if kind is np.int32 else 7)
    sorted_graph = sp.csr_matrix((half + np.triu(half, 1).T).astype(kind))
    order = np.concatenate([np.arange(b - 1, a - 1, -1) for a, b in itertools.pairwise(sorted_graph.indptr)])
    graph = sp.csr_matrix((sorted_graph.data[order], sorted_graph.indices[order], sorted_graph.indptr))
    before = graph.toarray()
    theirs = scikit_network(graph)
    np.testing.assert_array_equal(louvain(graph).labels, theirs.labels)
    np.testing.assert_array_equal(graph.toarray(), before)
    np.testing.assert_array_equal(louvain(before.astype(np.float64)).labels, theirs.labels)


@example(np.ones((3, 3), dtype=bool))
@given(graphs(weighted=False))
def test_a_binary_graph_may_come_dense_in_bits_or_sparse(adjacency: np.ndarray) -> None:
    expected = louvain(adjacency)
    for graph in (np.packbits(adjacency, axis=1), sp.csr_matrix(adjacency), adjacency.astype(np.float32)):
        found = louvain(graph)
        np.testing.assert_array_equal(found.labels, expected.labels)
        assert found.modularity == pytest.approx(expected.modularity, abs=1e-12)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@settings(max_examples=30)
@given(adjacency=graphs(weighted=False))
def test_more_orders_never_lower_the_modularity(sparse: bool, adjacency: np.ndarray) -> None:
    graph = sp.csr_matrix(adjacency) if sparse else adjacency
    one, two, six = (louvain(graph, seed=3, orders=orders).modularity for orders in (1, 2, 6))
    assert six >= two >= one
    np.testing.assert_array_equal(louvain(graph, seed=3, orders=6).labels, louvain(graph, seed=3, orders=6).labels)


def test_orders_are_the_nodes_own_then_by_rising_degree_then_shuffled() -> None:
    degrees = np.array([3, 1, 2, 1, 5, 2])
    own, rising, *shuffled = visiting_orders(degrees, 4, seed=1)
    assert own.tolist() == [0, 1, 2, 3, 4, 5]
    assert rising.tolist() == [1, 3, 2, 5, 0, 4]
    assert all(sorted(order) == own.tolist() for order in shuffled)
    assert not np.array_equal(visiting_orders(degrees, 4, seed=2)[2:], shuffled)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_rising_degree_finds_what_the_nodes_own_order_misses(sparse: bool) -> None:
    # Half of the nodes are joined to nearly all others, the rest hardly to the other group.
    rng = np.random.default_rng(123)
    heat, group = rng.random(40), rng.integers(0, 2, 40)
    chance = np.where(group[:, None] == group, 0.95, 0.75) * np.where(np.maximum(heat[:, None], heat) > 0.5, 1, 0.6)
    adjacency = np.triu(rng.random((40, 40)) < chance)
    adjacency |= adjacency.T
    graph = sp.csr_matrix(adjacency) if sparse else adjacency
    own, rising = (louvain(graph, orders=orders) for orders in (1, 2))
    assert rising.modularity > 1.1 * own.modularity


def test_several_orders_are_the_compiled_ones_own() -> None:
    with pytest.raises(UsageError, match="compiled"):
        louvain(planted()[0], library="networkx", orders=2)


def check_images(files: list[Path]) -> None:
    """Compare ours with the library on the paper's graphs of images, at 784 and at 1,600 patches."""
    for side in (224, 320):
        backbone = load_backbone(DEFAULT_BACKBONE, input_size=side, device="cpu", dtype="float32")
        for file in files:
            pixels = resize(decode.decode(file.read_bytes()), side, side)
            keys = backbone.extract(torch.from_numpy(pixels[None]), [Tap("key")])[Tap("key")][0]
            packed = pack(binary_affinity(keys)).numpy()
            theirs = scikit_network(sp.csr_matrix(unpack(packed, len(packed))))
            np.testing.assert_array_equal(louvain(packed).labels, theirs.labels)


def test_compiled_gives_scikit_networks_partition_of_demo_scenes(tmp_path: Path) -> None:
    write_demo(tmp_path, 4)
    check_images(sorted((tmp_path / "images").iterdir()))


@pytest.mark.parametrize("folder", ["suim/train_val", "camvid/val"])
def test_compiled_gives_scikit_networks_partition_of_real_images(folder: str, real_data: Path) -> None:
    files = sorted((real_data / folder / "images").iterdir())
    check_images(files[:: len(files) // 4][:4])


def test_modularity_is_newmans() -> None:
    adjacency, truth = planted()
    np.fill_diagonal(adjacency, False)  # networkx counts a self-loop twice
    groups = [set(np.flatnonzero(truth == g).tolist()) for g in range(4)]
    theirs = nx.community.modularity(nx.from_numpy_array(adjacency.astype(int)), groups, resolution=1.3)
    assert modularity(sp.csr_matrix(adjacency), truth, 1.3) == pytest.approx(theirs)


def in_bits(adjacency: np.ndarray) -> np.ndarray:
    return np.packbits(adjacency, axis=1)


def weighted(adjacency: np.ndarray) -> sp.csr_matrix:
    return sp.csr_matrix(adjacency * 0.37)


@pytest.mark.parametrize("kind", [np.asarray, in_bits, sp.csr_matrix, weighted])
@pytest.mark.parametrize("library", ["compiled", *LIBRARIES])
@pytest.mark.parametrize("nodes", [1, 2, 49])  # of 49 scikit-network moves some, by rounding
def test_a_graph_without_structure_is_one_community(nodes: int, library: str, kind: Callable[..., Any]) -> None:
    complete, nothing = np.ones((nodes, nodes), dtype=bool), np.zeros((nodes, nodes), dtype=bool)
    for resolution in (0.5, 1.0, 3.0) if library != "python-louvain" else (1.0,):
        for graph, expected in ((complete, 1 - resolution), (nothing, 0)):
            found = louvain(kind(graph), library=library, resolution=resolution)
            assert found.labels.tolist() == [0] * nodes
            assert found.labels.dtype == np.int32
            assert found.modularity == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("library", ["compiled", "networkx"])
@given(st.booleans().flatmap(graphs), st.sampled_from([0.4, 1.0, 1.9, 50.0]))
def test_no_graph_falls_apart_into_its_nodes(library: str, adjacency: np.ndarray, resolution: float) -> None:
    graph = sp.csr_matrix(adjacency) if adjacency.dtype != bool else adjacency
    found = louvain(graph, library=library, resolution=resolution)
    assert found.communities < max(2, len(adjacency))
    if adjacency.any():
        expected = modularity(sp.csr_matrix(adjacency), found.labels, resolution)
        assert found.modularity == pytest.approx(expected, abs=1e-6)
