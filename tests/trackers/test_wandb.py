"""Weights & Biases: the offline file, read record by record, by its own messages."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datus2_ray.trackers.tracker import Result
from datus2_ray.trackers.wandb import WandbTracker

pytest.importorskip("wandb", reason="needs the extra wandb")

EM = Result("em", "f1", curves={"em/loss": [(1, 0.5), (2, 0.25)], "em/agreement": [(2, 0.9)]})

#: Bytes of the file's header, of a block, and of the header of a piece of a record.
HEADER, BLOCK, PIECE = 7, 32768, 7


def records(file: Path) -> Iterator[Any]:
    """Read the records of a file: LevelDB's log format, whose pieces are whole (1), first (2), middle (3), last (4)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, kept = file.read_bytes(), HEADER, b""
    while at < len(data):
        if BLOCK - at % BLOCK < PIECE:
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        kept = (kept if kind in (3, 4) else b"") + data[at + PIECE : at + PIECE + length]
        at += PIECE + length
        if kind in (1, 4):
            yield Record.FromString(kept)


def send(folder: Path, monkeypatch: pytest.MonkeyPatch, result: Result = EM) -> list[Path]:
    """Send a run and return the folders of all."""
    monkeypatch.setenv("WANDB_DIR", str(folder))
    tracker = WandbTracker("key", "night", {"seed": 3, "discover": {"tau": 5}})
    tracker.log(Result("ingest", "f0"))
    tracker.log(result)
    tracker.finish({"scores/refined/nmi": 0.5}, b"<html>the report</html>")
    return sorted((folder / "wandb").iterdir())


def test_an_offline_run_holds_settings_curves_scores_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = send(tmp_path, monkeypatch)
    assert folder.name.startswith("offline-run-")
    (file,) = folder.glob("run-*.wandb")
    configured, curves, summary = dict[str, Any](), defaultdict[str, dict[int, float]](dict), dict[str, Any]()
    for record in records(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            assert (record.run.project, record.run.display_name) == ("datus2", "night")
            configured |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        if kind == "history":
            row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            for name in EM.curves:
                if name in row:
                    curves[name][row["em/step"]] = row[name]
        if kind == "summary":
            summary |= {
                "/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.summary.update
            }
    assert (configured["seed"], configured["discover"]) == (3, {"tau": 5})
    assert {name: sorted(curve.items()) for name, curve in curves.items()} == EM.curves
    assert summary["scores/refined/nmi"] == 0.5
    (page,) = folder.rglob("*.html")
    assert page.read_text() == "<html>the report</html>"


def test_it_is_written_once_and_an_interrupted_attempt_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    with monkeypatch.context() as patch:
        patch.setattr(wandb, "Html", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("the disk is full")))
        with pytest.raises(RuntimeError, match="the disk is full"):
            send(tmp_path, monkeypatch)
    assert not [folder for folder in (tmp_path / "wandb").iterdir() if folder.name.startswith("offline-run")]
    # In another second, by which the folders of runs are named.
    time.sleep(1.1)
    first = send(tmp_path, monkeypatch)
    assert len(first) == 1
    assert send(tmp_path, monkeypatch) == first
    assert len(send(tmp_path, monkeypatch, Result("em", "f2"))) == 2
