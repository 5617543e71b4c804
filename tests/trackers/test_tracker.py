"""What a tracker is given."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from datus2_ray.store import parquet, schemas
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Predicted
from datus2_ray.trackers.tracker import flatten, numbers_in, read_result


def test_a_curve_has_the_steps_at_which_it_has_a_value(tmp_path: Path) -> None:
    columns = {"step": [1, 2, 3], "epoch": [0, 0, 1], "train_loss": [3.0, 2.0, 1.0], "learning_rate": [0.1] * 3}
    history = pa.table({**columns, "held_out_loss": [None, 2.5, None]}).cast(schemas.TRAINING_HISTORY)
    parquet.write_table(str(tmp_path / "history.parquet"), history)
    result = read_result(Commit(str(tmp_path), "f", 0, 0, 0, {}, Predicted()))
    assert result.counter == "step"
    assert result.curves["predict/train_loss"] == [(1, 3), (2, 2), (3, 1)]
    assert result.curves["predict/held_out_loss"] == [(2, 2.5)]


def test_a_stage_without_history_has_no_curves(tmp_path: Path) -> None:
    assert read_result(Commit(str(tmp_path), "f", 0, 0, 0, {}, Predicted())).curves == {}


def test_nested_values_are_named_by_their_keys() -> None:
    assert flatten({"a": 1, "b": {"c": {"d": 2}}}, ".") == {"a": 1, "b.c.d": 2}
    assert numbers_in({"a": {"b": 1, "c": None, "d": [1], "e": "x"}}) == {"a/b": 1.0}
