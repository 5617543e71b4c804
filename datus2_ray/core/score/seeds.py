"""Mean and standard deviation of metrics over several seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

SCORED = ("initial", "refined", "token_kmeans", "token_kmeans_merged")


def over_seeds(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Combine the ``metrics.json`` objects of several seeds, of the same classes.

    Returns
    -------
    dict
        ``seeds``: the objects; ``mean`` and ``std``: objects with the scores that all seeds have, without ``matching``.
        ``std`` is the sample standard deviation (n - 1), None for one seed. Scores that are None are left out.
    """
    common = [key for key in SCORED if all(run.get(key) is not None for run in runs)]
    scores = [{key: run[key] for key in common} for run in runs]
    return {
        "seeds": list(runs),
        "mean": _combine(scores, statistics.fmean, 1),
        "std": _combine(scores, statistics.stdev, 2),
    }


def _combine(values: Sequence[Any], statistic: Callable[[list[float]], float], min_count: int) -> Any:
    """Apply a statistic to corresponding numbers of nested dicts and lists; None for fewer than `min_count` of them."""
    if isinstance(values[0], dict):
        return {
            key: _combine([value[key] for value in values], statistic, min_count)
            for key in values[0]
            if key != "matching"
        }
    if isinstance(values[0], list):
        return [_combine(place, statistic, min_count) for place in zip(*values, strict=True)]
    numbers = [value for value in values if value is not None]
    return statistic(numbers) if len(numbers) >= min_count else None
