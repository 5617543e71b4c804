"""The face: which commands and flags there are, and what a wrong one is answered with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from datus2_ray.cli import app
from datus2_ray.cli.flags import FLAGS
from datus2_ray.config import load
from datus2_ray.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    image = Image.new("RGB", (80, 80), "green")
    image.paste("white", (0, 0, 40, 80))
    image.save(tmp_path / "in" / "a.png")
    return tmp_path / "in"


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["datus2", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        app.main()
    return int(caught.value.code or 0)


def parameters(command: str) -> dict[str, Any]:
    group: Any = typer.main.get_command(app.app)
    return {str(parameter.name): parameter for parameter in group.commands[command].params}


def test_plan_takes_what_run_takes_and_other_commands_a_part_of_it() -> None:
    run = parameters("run")
    assert list(parameters("plan")) == list(run)
    assert set(run) == {*FLAGS, "debug"}
    assert set(parameters("ingest")) < set(parameters("pretrain")) < set(run)
    assert set(parameters("experiment")) - set(run) == {"name", "seeds", "values", "refine", "backbones"}
    assert run["preset"].default == "best"
    assert parameters("pretrain")["backbone"].help.endswith("default from scratch.")


def test_flags_become_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    taken = []
    monkeypatch.setattr("datus2_ray.commands.run.run", lambda config: taken.append(config) or {})
    monkeypatch.setattr("datus2_ray.cli.terminal.print_summary", lambda summary, out: None)
    (tmp_path / "s.yaml").write_text("export: {format: png}\nseed: 4")
    line = ("/in", "--out", "/out", "--preset", "paper", "--set", "discover.tau=3", "--set", "cluster.restarts=2")
    assert call(monkeypatch, "run", *line, "--id-column", "name", "--config", tmp_path / "s.yaml", "--seed", "7") == 0
    expected = load(
        {"source": "/in", "out": "/out", "seed": 7, "export": {"format": "png"}},
        preset="paper",
        assignments=("discover.tau=3", "cluster.restarts=2", "ingest.id_column=name"),
    )
    assert taken == [expected]


def test_a_setting_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "settings", "discover.place") == 0
    assert capsys.readouterr().out.startswith("discover.place = 0.2 (common, paper: 0.0): ")
    assert call(monkeypatch, "settings", "discover.plase") == 2
    assert "did you mean discover.place" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run", "{folder}", "--out", "{out}", "--preset", "papre"), 2, "unknown preset 'papre'"),
        (("run", "{folder}", "--out", "{out}", "--dataset", "imagenet"), 2, "unknown data set 'imagenet'"),
        (("run", "{folder}", "--out", "{out}", "--set", "discover.tua=1"), 2, "unknown setting discover.tua"),
        (
            ("run", "{folder}", "--out", "{out}", "--clusters", "2", "--backbone", "vit_smal_patch16_224"),
            1,
            "vit_small_patch16_224",
        ),
        (
            ("run", "{folder}", "--out", "{out}", "--clusters", "2", "--backbone", "/no/such.pth"),
            1,
            "there is no weights file /no/such.pth",
        ),
        (("run", "{folder}", "--out", "{out}", "--device", "tpu"), 2, "there are auto, cpu, cuda"),
        (("run", "{folder}", "--out", "{out}.txt/run", "--clusters", "2"), 1, "cannot write"),
        (("run", "{folder}", "--out", "{out}", "--config", "{folder}/none.yaml"), 1, "none.yaml"),
        (("run", "{folder}", "--out", "{folder}/run"), 2, "lie within each other"),
        (("run", "{folder}", "--out", "{other}"), 2, "has files in it that are no run's"),
        (("predict", "{folder}", "{folder}", "--out", "{out}"), 1, "give what a run was given as --out"),
        (("relabel", "{folder}", "--clusters", "5"), 1, "give what a run was given as --out"),
        (("explore", "{folder}"), 1, "give what a run was given as --out"),
        (("name", "{folder}"), 1, "give what a run was given as --out"),
        (("import", "{folder}", "--coco", "x.json"), 1, "give what a run was given as --out"),
        (("evaluate", "{folder}"), 1, "give what a run was given as --out"),
        (("export", "{folder}", "--format", "png"), 1, "give what a command was given as --out"),
        (("status", "{folder}"), 1, "give what a command was given as --out"),
        (("clean", "{folder}"), 1, "give what a command was given as --out"),
    ],
)
def test_a_wrong_argument_is_answered_in_one_line_and_at_once(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    (tmp_path / "out.txt").write_text("a file where a folder should be")
    filled = [argument.format(folder=folder, out=tmp_path / "out", other=tmp_path / "other") for argument in arguments]
    assert call(monkeypatch, *filled) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert len(lines) == (2 if code == 2 else 1)  # the second names the help
    assert "Traceback" not in "".join(lines)


def test_debug_shows_the_trace(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "run", folder, "--out", tmp_path / "out", "--dataset", "imagenet", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--clusters", "60", "--set", "discover.descriptor=tokens", "--set", "discover.actors=1"),
            "K = 60 is larger than the",
        ),
        ((), "--clusters K"),
        (("--clusters", "1"), "setting clusters = 1"),
    ],
)
def test_one_small_image_ends_in_one_line_that_says_why(
    ray_session: None,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    message: str,
) -> None:
    backbone = ("--preset", "paper", "--backbone", "untrained:vit_tiny_patch16_224")
    assert call(monkeypatch, "run", folder, "--out", tmp_path / "out", *flags, *backbone) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]


def test_the_points_of_a_sweep_are_numbers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--values 6;9: give numbers with commas between them"):
        app.app(["experiment", "clusters", str(tmp_path), "--out", "x", "--values", "6;9"], standalone_mode=False)


def test_an_interrupt_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("datus2_ray.commands.clean.clean", interrupted)
    assert call(monkeypatch, "clean", tmp_path) == 130
    assert capsys.readouterr().err == "stopped; run the same command again to go on\n"
