from __future__ import annotations

import pytest

from datus2_ray.config.catalogue import REMOVED, all_settings, find_settings
from datus2_ray.errors import UsageError


def test_a_setting_is_found_by_its_key_and_those_of_a_stage_by_its_name() -> None:
    (place,) = find_settings("discover.place")
    assert str(place).startswith("discover.place = 0.2 (common, paper: 0.0): ")
    assert find_settings("discover") == all_settings()["discover"]
    assert str(find_settings("source")[0]).startswith("source = needed")
    assert str(find_settings("discover.actors")[0]).endswith("Changes the speed only.")
    with pytest.raises(UsageError, match=r"unknown setting discover.plase; did you mean discover.place"):
        find_settings("discover.plase")


def test_every_setting_has_a_line_of_help() -> None:
    for settings in all_settings().values():
        for setting in settings:
            assert setting.text.endswith("."), setting.key


def test_what_was_removed_is_gone() -> None:
    known = {setting.key for settings in all_settings().values() for setting in settings}
    assert not known & set(REMOVED)
