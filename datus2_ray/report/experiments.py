"""The page of several experiments: questions, their answers in words, tables and charts; one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datus2_ray.report.charts import Chart
from datus2_ray.report.html import environment
from datus2_ray.report.overview import Line


@dataclass(frozen=True)
class Table:
    """Texts of a table; the first of a row is its name."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A question, and what answers it.

    Parameters
    ----------
    key : str
        Anchor of the section.
    published : str
        What is published of the same question, if anything.
    """

    key: str
    title: str
    question: str
    published: str
    sentences: Sequence[str]
    tables: Sequence[Table]
    charts: Sequence[Chart]


def render_experiments(title: str, facts: Sequence[Line], sections: Sequence[Section]) -> str:
    """Return the page, which loads no other file."""
    template = environment().get_template("experiments.html.j2")
    return template.render(title=title, facts=facts, sections=sections)
