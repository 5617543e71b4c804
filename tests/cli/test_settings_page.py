from __future__ import annotations

from pathlib import Path

from datus2_ray.cli.settings_page import settings_page
from datus2_ray.config.catalogue import all_settings


def test_page_of_settings_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text() == settings_page(), "run `datus2 settings > docs/settings.md`"


def test_page_has_every_setting_once() -> None:
    page = settings_page()
    for settings in all_settings().values():
        for setting in settings:
            assert page.count(f"| `{setting.key}` |") == 1
