"""Splits of shards: the names that Hugging Face gives, on the hub, in its caches and in its converted branches."""

from __future__ import annotations

import pytest

from datus2_ray.errors import UsageError
from datus2_ray.sources.splits import choose_split, split_of


@pytest.mark.parametrize(
    ("shard", "split"),
    [
        ("data/train-00000-of-00004.parquet", "train"),
        ("data/validation-00000-of-00001-a1b2c3.parquet", "validation"),
        ("data/test-00000-of-00001.parquet", "test"),
        ("en/train.clean.100-00000-of-00014.parquet", "train.clean.100"),
        ("cifar10-train-00000-of-00001.parquet", "train"),
        ("default/partial-train/0000.parquet", "train"),
        ("default/val/0003.parquet", "validation"),
        ("my_test_file_1.parquet", "test"),
        ("training.parquet", "train"),
        ("data/unlabeled-00000-of-00002.parquet", "unlabeled"),
        ("data/unlabeled-00000-of-00002-0f3e.parquet", "unlabeled"),
        ("dev/00000.PARQUET", "validation"),
        ("part-000000.parquet", None),
        ("testimony/trainer.parquet", None),
        ("0000.parquet", None),
    ],
)
def test_the_split_is_in_the_name(shard: str, split: str | None) -> None:
    assert split_of(shard) == split


SHARDS = ["data/test-00000-of-00001.parquet", *(f"data/train-{n:05d}-of-00002.parquet" for n in range(2))]


def test_the_shards_of_a_split_are_chosen_by_its_name_or_another_word_for_it() -> None:
    assert choose_split("x", SHARDS, "train") == choose_split("x", SHARDS, "training") == SHARDS[1:]
    assert choose_split("x", SHARDS, "test") == SHARDS[:1]
    assert choose_split("x", ["val/0.parquet", "notes.parquet"], "validation") == ["val/0.parquet"]


def test_a_split_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"x has the splits test, train, not val"):
        choose_split("x", SHARDS, "val")
    with pytest.raises(UsageError, match="names tell no splits; leave --split out"):
        choose_split("x", ["part-000000.parquet"], "train")
