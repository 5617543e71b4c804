"""A run on a cluster of three nodes in one machine; in the middle of it one of the nodes is lost.

    python three_nodes.py SETTINGS.json

It is a process of its own, since a process can join one cluster only. It prints the number of images, and of nodes
before and after, as JSON.
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
from datus2_ray.engine.machines import Machines

#: Parts of `discover` that are there when the node is lost.
PARTS_BEFORE = 2

#: A lost node refuses connections: it is asked twice a second and lost after four failures, not after 15 s.
NOTICED_AT_ONCE = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}


def lose(cluster: Cluster, node: object, out: Path) -> None:
    """Take a node away, as a spot instance is taken away, as soon as some parts are there."""
    while len(list(out.glob("discover/*/part-*.parquet"))) < PARTS_BEFORE:
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)


def main() -> None:
    settings = RunConfig.model_validate_json(Path(sys.argv[1]).read_text())
    head = {"num_cpus": 2, "include_dashboard": False, "_system_config": NOTICED_AT_ONCE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(num_cpus=2, num_gpus=1)
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    before = len(Machines.now().nodes)
    threading.Thread(target=lose, args=(cluster, second, Path(settings.out)), daemon=True).start()
    summary = datus2_ray.run(settings)
    print(json.dumps({"images": summary["images"], "nodes": [before, len(Machines.now().nodes)]}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
