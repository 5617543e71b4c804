"""What a node's move to another community gains of modularity, in scikit-network's float32 terms and their order."""

from __future__ import annotations

import numpy as np

from datus2_ray.core.compiled import compiled


@compiled
def gain_without(links: np.float32, pull: np.float32, community_weight: np.float32) -> np.float32:
    """Give the gain of joining a community, before what is lost where the node leaves.

    Parameters
    ----------
    links : float32
        Sum of the links between the node and the community.
    pull : float32
        Resolution times the node's weight.
    community_weight : float32
        Sum of the weights of the community's nodes, the moving one left out.
    """
    gain = np.float32(2) * links
    # Twice, as two roundings: for a directed graph these are two different terms.
    gain -= pull * community_weight
    gain -= pull * community_weight
    return gain


@compiled
def is_better(gain: np.float32, label: int, best_gain: np.float32, best: int, own: int) -> bool:
    """Tell whether a move is to be preferred to the best so far: by gain, ties to the lowest label; staying is free."""
    return bool(gain > best_gain or (gain == best_gain and best != own and label < best))
