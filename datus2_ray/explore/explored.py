"""What the explorer shows of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datus2_ray.explore.gallery import Gallery
from datus2_ray.explore.jobs import Jobs
from datus2_ray.explore.naming import Naming
from datus2_ray.explore.tables import Tables
from datus2_ray.explore.taught import Lessons
from datus2_ray.store.facts import Evaluated, NamesScored
from datus2_ray.store.names_results import names_of
from datus2_ray.store.run_folder import RunFolder


@dataclass(frozen=True)
class Explored:
    """A run as the explorer shows it.

    Parameters
    ----------
    title : str
    version : str
        Fingerprints of the prepared tables and of the refined masks, which are in the addresses of pictures: browsers
        keep these.
    k : int
        Number of clusters of the run's masks.
    suggested : tuple of str
        Names to complete from, beside those of classes: the names of the ground truth's classes.
    metrics : callable
        Returns the run's scores as they are now, see :func:`read_scores`; None without ground truth.
    """

    title: str
    version: str
    k: int
    tables: Tables
    gallery: Gallery
    naming: Naming
    lessons: Lessons
    jobs: Jobs
    refined: bool
    suggested: tuple[str, ...]
    metrics: Callable[[], dict[str, Any] | None]


def read_scores(run: RunFolder) -> dict[str, Any] | None:
    """Return mIoU and pixel accuracy of every set of masks, and the hash of the names that were scored.

    None without ground truth. Scores of names stay to be seen while the names are edited, unlike in ``metrics.json``.
    """
    evaluated, scored = run.find(Evaluated), run.find(NamesScored)
    if evaluated is None:
        return None
    kept = evaluated.facts.metrics
    found: dict[str, Any] = {name: kept[name]["many_to_one"] for name in ("initial", "refined") if name in kept}
    of_names = scored.facts.metrics if scored else {}
    found |= {name: of_names[name] for name in ("named", "taught") if name in of_names}
    sets = {name: {key: scores[key] for key in ("miou", "pixel_accuracy")} for name, scores in found.items()}
    return {"sets": sets, "names": names_of(run, NamesScored)}
