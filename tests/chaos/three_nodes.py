"""Two runs on a cluster of three nodes in one machine; in the middle of the second one of the nodes is lost.

    python three_nodes.py WHOLE.json LOST.json

The files hold the settings of the runs. It is a process of its own, since a process can join one cluster only. It
prints, a line a run, what ``run`` gives and how many nodes are left, as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

import datus2_ray
from datus2_ray.config.load import RunConfig

#: Parts that are in ``segments/`` when the node is lost.
PARTS_BEFORE = 2


def lose(cluster: Cluster, node: object, segments: Path) -> None:
    """Take a node away, as a spot instance is taken away, as soon as some parts are there."""
    while len(list(segments.glob("part-*.parquet"))) < PARTS_BEFORE:
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)
    print("a node was lost", file=sys.stderr, flush=True)


def run(settings: RunConfig) -> None:
    summary = datus2_ray.run(settings)
    print(json.dumps({"images": summary["images"], "nodes": sum(node["Alive"] for node in ray.nodes())}))


def main() -> None:
    whole, lost = (RunConfig.model_validate_json(Path(name).read_text()) for name in sys.argv[1:])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    second = cluster.add_node(num_cpus=2, num_gpus=1)
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    assert ray.cluster_resources()["CPU"] == 6
    run(whole)
    threading.Thread(target=lose, args=(cluster, second, Path(lost.out) / "segments"), daemon=True).start()
    run(lost)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
