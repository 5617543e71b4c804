from __future__ import annotations

import hashlib

import numpy as np

from datus2_ray.core.cluster.row_hash import row_hash, row_uniform, sample_rows


def test_the_hash_of_a_row_depends_on_its_number_and_the_key_alone():
    rows = np.arange(1000)
    order = np.random.default_rng(0).permutation(1000)
    assert (row_hash(rows, 1, "sample")[order] == row_hash(rows[order], 1, "sample")).all()
    assert len(np.unique(row_hash(rows, 1, "sample"))) == 1000
    for other in [(2, "sample"), (1, "epoch"), (1, "sample", 0)]:
        assert not (row_hash(rows, 1, "sample") == row_hash(rows, *other)).any()


def test_the_hash_is_splitmix64_of_a_digest_of_the_key():
    def mixed(state):
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        return state ^ (state >> 31)

    offset = int.from_bytes(hashlib.blake2b(b"(0, 'sample')", digest_size=8).digest(), "little")
    expected = [mixed((row * 0x9E3779B97F4A7C15 + offset) % 2**64) for row in range(50)]
    assert row_hash(np.arange(50), 0, "sample").tolist() == expected


def test_uniform_numbers_are_uniform_and_inside_the_open_interval():
    uniform = row_uniform(np.arange(100_000), 3)
    assert uniform.min() > 0
    assert uniform.max() < 1
    counts = np.histogram(uniform, bins=20, range=(0, 1))[0]
    # Chi-square with 19 degrees of freedom: 43.8 is passed once in a thousand keys, and the key is fixed.
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8
    assert abs(np.corrcoef(uniform[:-1], uniform[1:])[0, 1]) < 0.02


def test_a_sample_is_drawn_without_replacement_and_grows_by_appending():
    full = sample_rows(500, 500, 7)
    assert sorted(full) == list(range(500))
    assert not (full == np.arange(500)).all()
    for count in (1, 10, 499):
        assert (sample_rows(500, count, 7) == full[:count]).all()
