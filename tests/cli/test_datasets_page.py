from __future__ import annotations

from pathlib import Path

import pytest

from datus2_ray.cli.datasets_page import datasets_page, describe_dataset
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.known import DATASETS


def test_page_of_data_sets_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "datasets.md"
    assert page.read_text() == datasets_page(), "run `datus2 datasets > docs/datasets.md`"


def test_page_has_every_data_set_and_form() -> None:
    page = datasets_page()
    for layout in DATASETS.values():
        assert page.count(f"| `{layout.name}` | {layout.title} |") == 1
        assert all(form in page for form in layout.folders)
        assert layout.about.home in page


@pytest.mark.parametrize("name", DATASETS)
def test_one_data_set_is_shown_with_its_classes(name: str) -> None:
    shown, layout = describe_dataset(name), DATASETS[name]
    assert all(text in shown for text in (*(layout.class_names or ()), *layout.splits, *layout.folders))
    assert layout.about.home in shown


def test_an_unknown_data_set_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="known are"):
        describe_dataset("imagenet")
