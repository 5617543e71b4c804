"""label-studio: where a task says that its image lies."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest

from datus2_ray.core.names.names import NamedClass
from datus2_ray.exports.format import LabelledImage
from datus2_ray.exports.label_studio import LabelStudio

FILE = "Vögel/a+b & 50% #1.jpg"
IMAGE = LabelledImage("a", "train", FILE, np.zeros((3, 4), np.uint8), None)


def place(image_url: str) -> str:
    target = LabelStudio((NamedClass("sky", "#0000ff"),), ("train",), image_url=image_url)
    (task,) = target.encode(IMAGE).record
    found: str = json.loads(task)["data"]["image"]
    return found


@pytest.mark.parametrize("url", ["/data/local-files/?d=birds/", "http://127.0.0.1:8000/birds/"])
def test_a_server_is_asked_for_the_file_whatever_its_name(url: str) -> None:
    parts = urlsplit(place(url))
    asked = parse_qs(parts.query)["d"][0] if parts.query else unquote(parts.path).removeprefix("/")
    assert asked == f"birds/{FILE}"


@pytest.mark.parametrize("url", ["", "s3://bucket/"])
def test_a_path_alone_and_the_key_of_a_store_are_as_they_are(url: str) -> None:
    assert place(url) == url + FILE
