from __future__ import annotations

from math import log

import pytest

from datus2_ray.core.refine.loss import EXPONENT as TRAINED
from datus2_ray.report.curves import EXPONENT, training_chart
from datus2_ray.report.facts import read_run


@pytest.mark.parametrize(
    ("loss", "name", "guess"),
    [
        ("cross-entropy", "cross entropy", log(6)),
        ("generalised", "generalised cross entropy", (1 - (1 / 6) ** 0.7) / 0.7),
    ],
)
def test_the_chart_is_of_the_loss_that_was_trained(make_run, loss, name, guess):
    chart = training_chart(read_run(make_run(clusters=6, refinement={"loss": loss})).refined)
    assert chart.title == f"refinement, {name}"
    assert f">{name}</text>" in chart.svg
    assert chart.note.startswith(f"{name.capitalize()} of the initial masks")
    assert f"A guess among all clusters costs {guess:.2f}." in chart.note
    assert ("in nats" in chart.note) is (loss == "cross-entropy")


def test_the_exponent_is_that_of_the_training():
    assert EXPONENT == TRAINED
