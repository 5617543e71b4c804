"""Every flag that an error names is one of the command that shows it."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import typer

import datus2_ray
from datus2_ray.cli import advice, app
from datus2_ray.cli.advice import fit_advice
from datus2_ray.cli.flags import SETTING_OF
from datus2_ray.errors import UsageError

COMMANDS = sorted(typer.main.get_command(app.app).commands)  # type: ignore[attr-defined]


@cache
def texts() -> list[str]:
    """Return the texts of the sources that name a flag, with ``NAME`` where a value is put in."""
    found = []
    for file in set(Path(datus2_ray.__file__).parent.rglob("*.py")) - {Path(advice.__file__)}:
        tree = ast.parse(file.read_text())
        parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(getattr(part, "value", "")) if isinstance(part, ast.Constant) else "NAME"
                                     for part in node.values))  # fmt: skip
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
                found.append(node.value)
    # Docstrings have several lines, or marks of code.
    return [text for text in found if re.search(r"(?<![\w-])--[a-z]", text) and "``" not in text and "\n" not in text]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_error_advises_a_flag_that_the_command_does_not_have(command: str) -> None:
    has = app.flags_of(command)
    assert "--debug" in has
    assert len(texts()) > 60
    for text in texts():
        shown = fit_advice(text, has, SETTING_OF)
        bare = re.sub(r"`[^`]*`|\(ray [^)]*\)", "", re.sub(r"--[\w-]+(?: [^-]\S*)? of `datus2 run`", "", shown))
        # What is not a flag of settings belongs to one command, which alone says it.
        named = set(re.findall(r"(?<![\w-])--(?:set(?= )|(?!set\b)[a-z][a-z-]*)", bare))
        assert named & {*SETTING_OF, "--set"} <= has, shown


def test_flags_become_settings_or_are_said_to_be_those_of_run() -> None:
    text = "which column? give --image-column NAME, one of a, b; or --masks none, leave --split out; `datus2 x --split`"
    assert fit_advice(text, {"--image-column", "--masks", "--split"}, SETTING_OF) == text
    assert fit_advice(text, {"--set"}, SETTING_OF) == (
        "which column? give --set ingest.image_column=NAME, one of a, b; or --set ingest.masks=none, leave split out; "
        "`datus2 x --split`"
    )
    assert "give --image-column NAME of `datus2 run`, one of" in fit_advice(text, set(), SETTING_OF)
    assert fit_advice("set --set a.b=N", set(), SETTING_OF) == "set --set a.b=N of `datus2 run`"


def test_the_terminal_shows_the_flags_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise UsageError("two columns of bytes: give --mask-column NAME")

    monkeypatch.setattr(app, "app", refuse)
    monkeypatch.setattr(app, "flags_of", lambda command: {"--set"} if command == "pretrain" else set())
    monkeypatch.setattr(sys, "argv", ["datus2", "pretrain", "x"])
    with pytest.raises(SystemExit):
        app.main()
    assert "give --set ingest.mask_column=NAME\n" in capsys.readouterr().err
