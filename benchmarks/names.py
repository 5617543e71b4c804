"""What naming N clusters is worth, by a simulated person: through names.yaml and the layer that is taught.

``python benchmarks/names.py RUN --names 27,60,120``; RUN is a finished run with ground truth and tokens (as by
default), without names. For each N the run is relabelled to N clusters, every cluster gets the class that most of its
pixels have in the ground truth, and the masks as named, and as taught, are scored.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import datus2_ray
from datus2_ray.commands.load import LoadedRun, load
from datus2_ray.core.images.labels import upsample_nearest
from datus2_ray.core.names import edits
from datus2_ray.core.names.changes import Change
from datus2_ray.core.names.names import Names
from datus2_ray.engine.segments_table import SegmentsTable
from datus2_ray.store.facts import Clustered, Discovered, Labelled
from datus2_ray.store.names import append_change, open_names


def count_classes(run: LoadedRun) -> np.ndarray:
    """Count the pixels of every fine cluster and class of the ground truth, int64 [M, C]."""
    labelled, leaves = run.folder.require(Labelled), run.folder.require(Clustered).facts.centroids
    table, classes = SegmentsTable.of(run.folder.require(Discovered), labelled), len(run.classes)
    counts = np.zeros((leaves, classes), np.int64)
    for part in sorted(labelled.parts):
        for image in table.read(part):
            truth = run.mask(image.image_id, "truth")
            patches = np.append(image.fine, -1)[image.patch_map]
            fine = upsample_nearest(patches, *truth.shape)
            scored = (truth < classes) & (fine >= 0)
            np.add.at(counts, (fine[scored], truth[scored]), 1)
    return counts


def name_by_majority(run: LoadedRun, counts: np.ndarray) -> None:
    """Name all clusters of a run by the class that most of their pixels have, and nothing else."""
    members = run.members
    of_clusters = np.array([counts[members == cluster].sum(axis=0) for cluster in range(run.k)])
    best = of_clusters.argmax(axis=1)[members]
    before, number = open_names(run.folder)
    after = Names(before.clustering)
    for label in np.unique(best):
        after = edits.name_clusters(after, np.flatnonzero(best == label).tolist(), run.classes[label])
    append_change(run.folder, Change.between(before, after), number, "simulated person")


def main() -> None:
    """Print a row per number of names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--names", default="27,60,120")
    arguments = parser.parse_args()
    run = load(arguments.run)
    if not run.names.is_empty:
        raise SystemExit(f"{arguments.run} has names already, which this would replace; give a run without")
    counts = count_classes(run)
    print("| names | named mIoU | acc. | taught mIoU | acc. | seconds |")
    print("|---|---|---|---|---|---|")
    for names in map(int, arguments.names.split(",")):
        datus2_ray.relabel(arguments.run, names)
        name_by_majority(load(arguments.run), counts)
        start = time.monotonic()
        scores = datus2_ray.name(arguments.run, teach=True)["metrics"]["names"]
        cells = [
            f"{100 * scores[masks][key]:.1f}" for masks in ("named", "taught") for key in ("miou", "pixel_accuracy")
        ]
        print("|", " | ".join([str(names), *cells, f"{time.monotonic() - start:.0f}"]), "|", flush=True)


if __name__ == "__main__":
    main()
