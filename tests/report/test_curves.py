from __future__ import annotations

from math import log

import pytest

from datus2_ray.core.refine.loss import EXPONENT as TRAINED
from datus2_ray.report.curves import EXPONENT, em_chart, training_chart
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
    assert chart.title == f"DeepLabV3, {name}"
    assert f">{name}</text>" in chart.svg
    assert chart.note.startswith(f"{name.capitalize()} of the initial masks")
    assert f"A guess among all clusters costs {guess:.2f}." in chart.note
    assert ("in nats" in chart.note) is (loss == "cross-entropy")


def test_the_chart_of_em_says_what_each_round_changed(make_run):
    run = read_run(make_run(clusters=6, em=True, refinement={"targets": "em"}))
    chart = em_chart(run.fitted)
    assert chart.title == "EM on segments"
    assert "each of the 2 rounds" in chart.note
    assert "90.0 %, 99.0 % of the tokens kept theirs" in chart.note
    assert "of the masks of EM" in training_chart(run.refined).note


def test_the_exponent_is_that_of_the_training():
    assert EXPONENT == TRAINED
