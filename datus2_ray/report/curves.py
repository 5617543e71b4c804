"""The curves of a run: how k-means and the refinement came to their end."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any

from datus2_ray.report.charts import Chart, Series, draw_chart, moving_mean
from datus2_ray.store import storage
from datus2_ray.store.facts import Clustered, Refined
from datus2_ray.store.run_folder import RunFolder

#: Steps over which the curve of the training loss is averaged.
SMOOTHING = 20


def kmeans_chart(folder: RunFolder) -> Chart:
    """Draw the inertia of the best restart over its iterations."""
    clustered = folder.require(Clustered)
    history, facts = storage.read_table(clustered.path("history.parquet")), clustered.facts
    x, y = history["iteration"].to_numpy(), history["inertia"].to_numpy()
    inertias = facts.restart_inertias
    restarts = f"; the best of {len(inertias)} restarts (the worst ended at {max(inertias):.4g})"
    converged = "converged" if facts.converged else "stopped before it converged"
    return draw_chart(
        "k-means",
        "iteration",
        "inertia",
        [Series("inertia", "initial", x, y, dots=len(x) <= 40)],
        note="Inertia: the sum of squared distances of the segments' descriptors to their centroids, lower is tighter. "
        f"It {converged} after {facts.iterations} iterations{restarts if len(inertias) > 1 else ''}.",
    )


def training_chart(folder: RunFolder, summary: Mapping[str, Any]) -> Chart | None:
    """Draw the losses of the refinement over its steps; None where nothing was trained."""
    refinement = summary["refinement"]
    if "skipped" in refinement:
        return None
    history = storage.read_table(folder.require(Refined).path("history.parquet"))
    step, loss = history["step"].to_numpy(), history["train_loss"].to_numpy()
    held_out = history.filter(history["held_out_loss"].is_valid())
    series = [
        Series("training loss, every step", "raw", step, loss),
        Series(f"its mean over {SMOOTHING} steps", "refined", step, moving_mean(loss, SMOOTHING)),
    ]
    if len(held_out):
        x, y = held_out["step"].to_numpy(), held_out["held_out_loss"].to_numpy()
        series.append(Series("held-out loss", "held-out", x, y, dots=True))
    return draw_chart(
        "refinement",
        "optimiser step",
        "cross entropy",
        series,
        mark=refinement.get("best_step"),
        mark_name="kept checkpoint",
        note="Cross entropy against the initial masks, in nats; noise is left out. A guess among all clusters costs "
        f"{log(summary['clusters']):.2f}. The checkpoint with the lowest held-out loss is kept.",
    )
