"""The flags of ground truth reach the settings, and leave a file of settings alone where they are not given."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from datus2_ray.cli.app import app
from datus2_ray.config import RunConfig


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    configs: list[RunConfig] = []

    def plan_run(config: RunConfig) -> None:
        configs.append(config)
        raise SystemExit(0)

    monkeypatch.setattr("datus2_ray.commands.plan.plan_run", plan_run)
    return configs


def test_flags_reach_the_settings(tmp_path: Path, planned: list[RunConfig]) -> None:
    flags = ["--masks", "gt/*.png", "--ignore-id", "4", "--ignore-id", "#E0E0C0"]
    CliRunner().invoke(app, ["plan", str(tmp_path), "--out", str(tmp_path / "run"), *flags])
    assert planned[0].ingest.masks == "gt/*.png"
    assert planned[0].ingest.ignore_id == ("4", "#e0e0c0")


def test_flags_that_are_not_given_leave_a_file_of_settings_alone(tmp_path: Path, planned: list[RunConfig]) -> None:
    (tmp_path / "s.yaml").write_text("ingest: {masks: none, ignore_id: [0, 11]}")
    command = ["plan", str(tmp_path), "--out", str(tmp_path / "run"), "--config", str(tmp_path / "s.yaml")]
    CliRunner().invoke(app, command)
    assert (planned[0].ingest.masks, planned[0].ingest.ignore_id) == ("none", ("0", "11"))


def test_what_is_no_id_is_refused(tmp_path: Path, planned: list[RunConfig]) -> None:
    command = ["plan", str(tmp_path), "--out", str(tmp_path / "run"), "--ignore-id", "void"]
    result = CliRunner().invoke(app, command)
    assert not planned
    assert "void is no id such as 255" in str(result.exception)
