"""Run folders that another version wrote: refused in one line that names it, by every command that takes one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from datus2_ray.cli import app
from datus2_ray.config.load import load
from datus2_ray.store import storage
from datus2_ray.store.run_folder import FORMAT

COMMANDS = {
    "run": ("run", "{scenes}", "--out", "{run}", "--dataset", "demo"),
    "predict": ("predict", "{run}", "{scenes}/images", "--out", "{out}"),
    "relabel": ("relabel", "{run}", "--clusters", "3"),
    "export": ("export", "{run}", "--format", "png"),
    "import": ("import", "{run}", "--coco", "{out}"),
    "status": ("status", "{run}"),
    "report": ("report", "{run}"),
    "evaluate": ("evaluate", "{run}"),
    "clean": ("clean", "{run}"),
}

SUMMARY = {"backbone": {"name": "b", "trained": True, "supervised": False}, "cnn": None, "metrics": None}


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, **places: Path) -> str:
    """Return the only line of the error that a command ends with."""
    line = [word.format(**places) for word in COMMANDS[command]]
    monkeypatch.setattr(sys, "argv", ["datus2", *line])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code in (1, 2)
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("see `datus2")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_of_the_first_format_is_refused(
    command: str, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    # What version 0.1 left in a finished run.
    storage.write_json(str(run / "_DATUS2_RUN.json"), {"format": 1, "command": "run"})
    storage.write_json(str(run / "images" / "_COMMIT.json"), {"fingerprint": "f", "facts": {}})
    storage.write_json(str(run / "summary.json"), SUMMARY)
    storage.write_json(str(run / "config.json"), {"source": str(scenes), "out": str(run)})
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*")}
    message = refusal(monkeypatch, capsys, command, run=run, scenes=scenes, out=tmp_path / "out")
    assert f"{run} was written by datus2-ray 0.1 (format 1)" in message
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*")} == before


def test_a_folder_of_a_later_format_is_refused(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    storage.write_json(str(run / "run.json"), {"format": 99, "version": "9.1", "command": "run", "stages": {}})
    message = refusal(monkeypatch, capsys, "status", run=run)
    assert "was written by datus2-ray 9.1 (format 99)" in message


def test_a_setting_that_this_version_does_not_know_is_named(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    settings = load({"source": str(scenes), "out": str(run), "dataset": "demo"}).model_dump(mode="json")
    settings["discover"]["sharpness"] = 3
    storage.write_json(str(run / "run.json"), {"format": FORMAT, "version": "0.3", "command": "run", "stages": {}})
    storage.write_json(str(run / "summary.json"), SUMMARY)
    storage.write_json(str(run / "config.json"), settings)
    message = refusal(monkeypatch, capsys, "predict", run=run, scenes=scenes, out=tmp_path / "out")
    assert "config.json was written by another version" in message
    assert "unknown setting discover.sharpness" in message
    assert not (tmp_path / "out").exists()
