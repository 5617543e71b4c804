"""The curves of a run: k-means, EM and the training of DeepLabV3."""

from __future__ import annotations

from math import log

from datus2_ray.report.charts import Chart, Series, draw_chart, moving_mean
from datus2_ray.store import parquet
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Clustered, LayerFitted, Refined

#: Steps over which the curve of the training loss is averaged.
SMOOTHING = 20

#: Exponent q of the generalised cross entropy (1 - p^q) / q, as in core/refine.
EXPONENT = 0.7

#: Masks that DeepLabV3 learns, by the stage that they are of.
TARGETS = {"label": "initial masks", "em": "masks of EM"}

#: Name and style of a smoothed curve.
SMOOTHED = (f"its mean over {SMOOTHING} steps", "refined")


def kmeans_chart(clustered: Commit[Clustered]) -> Chart:
    """Draw the inertia of the best start over its iterations; where clusterings vote, of the first of them."""
    history, facts = parquet.read_table(clustered.path("history.parquet")), clustered.facts
    x, y = history["iteration"].to_numpy(), history["inertia"].to_numpy()
    inertias = facts.restart_inertias
    restarts = f"; the best of {len(inertias)} starts (the worst ended at {max(inertias):.4g})"
    first = f" It is of the first of {facts.votes} clusterings that vote." if facts.votes > 1 else ""
    converged = "converged" if facts.converged else "stopped before it converged"
    return draw_chart(
        "k-means",
        "iteration",
        "inertia",
        [Series("inertia", "initial", x, y, dots=len(x) <= 40)],
        note="Inertia: the sum of squared distances of the segments' descriptors to their centroids, lower is tighter. "
        f"It {converged} after {facts.iterations} iterations{restarts if len(inertias) > 1 else ''}.{first}",
    )


def em_chart(fitted: Commit[LayerFitted]) -> Chart:
    """Draw the loss of EM over its steps, and say how many tokens kept their class in each round."""
    facts = fitted.facts
    history = parquet.read_table(fitted.path("history.parquet"))
    step, loss = history["step"].to_numpy(), history["loss"].to_numpy()
    kept = ", ".join(f"{100 * share:.1f} %" for share in facts.agreements)
    rounds = len(facts.agreements)
    guess = (1 - facts.clusters**-EXPONENT) / EXPONENT
    return draw_chart(
        "EM on segments",
        "optimiser step",
        "generalised cross entropy",
        [Series("every step", "raw", step, loss), Series(*SMOOTHED, step, moving_mean(loss, SMOOTHING))],
        note=f"Loss of the segments' clusters, (1 - p^{EXPONENT}) / {EXPONENT} for one of probability p; a guess costs "
        f"{guess:.2f}. The layer starts again in each of the {rounds} round{'s' * (rounds != 1)}, after which every "
        f"segment takes the cluster that its tokens vote for: {kept} of the tokens kept theirs.",
    )


def training_chart(refined: Commit[Refined]) -> Chart:
    """Draw the losses of DeepLabV3 over its steps."""
    facts = refined.facts
    history = parquet.read_table(refined.path("history.parquet"))
    step, loss = history["step"].to_numpy(), history["train_loss"].to_numpy()
    held_out = history.filter(history["held_out_loss"].is_valid())
    series = [
        Series("training loss, every step", "raw", step, loss),
        Series(*SMOOTHED, step, moving_mean(loss, SMOOTHING)),
    ]
    if len(held_out):
        x, y = held_out["step"].to_numpy(), held_out["held_out_loss"].to_numpy()
        series.append(Series("held-out loss", "held-out", x, y, dots=True))
    if facts.loss == "generalised":
        name, guess = "generalised cross entropy", (1 - facts.clusters**-EXPONENT) / EXPONENT
        unit = f"(1 - p^{EXPONENT}) / {EXPONENT} for a label of probability p"
    else:
        name, guess, unit = "cross entropy", log(facts.clusters), "in nats"
    return draw_chart(
        f"DeepLabV3, {name}",
        "optimiser step",
        name,
        series,
        mark=facts.best_step,
        mark_name="kept checkpoint",
        note=f"{name.capitalize()} of the {TARGETS[facts.targets]}, {unit}; noise is left out. A guess among all "
        f"clusters costs {guess:.2f}. The checkpoint with the lowest held-out loss is kept.",
    )
