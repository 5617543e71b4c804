"""Fixtures of the tests of commands."""

from __future__ import annotations

import pytest

from tests.in_process import commands_without_ray


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whole commands run in this process, without Ray; the trainings cannot."""
    commands_without_ray(monkeypatch)
