"""Mean and standard deviation of metrics over several seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

SCORED = ("initial", "refined", "token_kmeans")


def over_seeds(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put the metrics of several seeds side by side with their mean and standard deviation.

    Parameters
    ----------
    runs : sequence of dict
        One ``metrics.json`` object a seed, of the same classes.

    Returns
    -------
    dict
        ``seeds``: the objects themselves; ``mean`` and ``std``: objects with the same scores (``initial``, ``refined``,
        ``token_kmeans``, those that all seeds have) without what has no mean (``matching``). ``std`` is the sample
        standard deviation (n - 1), None for one seed. A score that is None for a seed is left out of its mean.
    """
    common = [key for key in SCORED if all(run.get(key) is not None for run in runs)]
    scores = [{key: run[key] for key in common} for run in runs]
    return {
        "seeds": list(runs),
        "mean": _combine(scores, statistics.fmean, 1),
        "std": _combine(scores, statistics.stdev, 2),
    }


def _combine(values: Sequence[Any], statistic: Callable[[list[float]], float], least: int) -> Any:
    """Apply a statistic to the numbers at the same place of nested dicts and lists; None where there are too few."""
    if isinstance(values[0], dict):
        return {
            key: _combine([value[key] for value in values], statistic, least) for key in values[0] if key != "matching"
        }
    if isinstance(values[0], list):
        return [_combine(place, statistic, least) for place in zip(*values, strict=True)]
    numbers = [value for value in values if value is not None]
    return statistic(numbers) if len(numbers) >= least else None
