"""What the explorer answers: the run, the names, samples of clusters, images, pictures, commands."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from datus2_ray.explore.edits import parse_request
from datus2_ray.explore.explored import Explored
from datus2_ray.explore.naming import check, groups, own_class
from datus2_ray.explore.tables import Kind

#: Sides of pictures that the page asks for, in pixels; other ones would fill the memory.
CROP_SIDES, PHOTO_SIDES = (112, 224, 320), (320, 640, 1600)

#: Samples of a cluster, and images, in one answer.
MAX_SAMPLES, MAX_IMAGES = 60, 120


class Answers:
    """The endpoints; those that read files run in threads."""

    def __init__(self, explored: Explored) -> None:
        self._of = explored
        self._members = explored.tables.tree.members(explored.k)

    def run(self, request: Request) -> Response:
        """Answer with what does not change while the server runs, and the names."""
        of, tables = self._of, self._of.tables
        return JSONResponse(
            {
                "title": of.title,
                "pictures": f"/pictures/{of.version}",
                "k": of.k,
                "images": tables.images,
                "segments": len(tables.image),
                "pixels": tables.all_pixels,
                "left": tables.tree.left.tolist(),
                "right": tables.tree.right.tolist(),
                "heights": tables.tree.heights.tolist(),
                "leafPixels": tables.leaf_pixels.tolist(),
                "leafSegments": np.diff(tables.first)[tables.spans[: tables.leaves, 0]].tolist(),
                "nodeImages": tables.node_images.tolist(),
                "refined": of.refined,
                "suggested": list(of.suggested),
                "names": of.naming.now().to_json(),
                **self._results(),
            }
        )

    def names(self, request: Request) -> Response:
        """Answer with the names, or nothing (204) if they are those that the page knows."""
        named = self._of.naming.now()
        # Edits by hand that cannot be noted have one number.
        if request.query_params.get("known") == f"{named.number}.{named.fingerprint}":
            return Response(status_code=204)
        return JSONResponse(named.to_json())

    async def edit(self, request: Request) -> Response:
        """Save an edit and answer with the names."""
        body = await request.body()
        named = await run_in_threadpool(lambda: self._of.naming.edit(parse_request(body)))
        return JSONResponse(named.to_json())

    def samples(self, request: Request) -> Response:
        """Answer with segments of a node of the tree."""
        tables, node, kind = self._of.tables, request.path_params["node"], request.path_params["kind"]
        if not 0 <= node < len(tables.spans) or kind not in ("nearest", "random", "borderline"):
            raise HTTPException(404)
        count = _number(request, "count", 6, MAX_SAMPLES)
        rows = tables.samples(node, cast("Kind", kind), count)
        return JSONResponse(self._segments(rows))

    def _segments(self, rows: np.ndarray) -> list[dict[str, Any]]:
        tables = self._of.tables
        ids = tables.image_ids.take(tables.image[rows]).to_pylist()
        columns = (tables.image, tables.segment, tables.fine, tables.second, tables.margin)
        names = ("image", "segment", "fine", "second", "margin")
        found = [
            dict(zip(names, values, strict=True)) for values in zip(*(c[rows].tolist() for c in columns), strict=True)
        ]
        return [{**segment, "id": image_id} for segment, image_id in zip(found, ids, strict=True)]

    def images(self, request: Request) -> Response:
        """Answer with images: all, those that have a cluster, class or text, or the most uncertain first."""
        tables, asked = self._of.tables, request.query_params
        named = self._of.naming.now()
        score, chosen = np.zeros(tables.images), np.ones(tables.images, dtype=bool)
        if "node" in asked:
            node = _number(request, "node", 0, len(tables.spans) - 1)
            score = tables.share_of_node(node)
            chosen &= score > 0
        if "class" in asked:
            number = _number(request, "class", 0, None)
            check(named, number)
            score = tables.share_of_class(self._of.naming.of_rows(named), number)
            chosen &= score > 0
        if asked.get("text"):
            found = np.zeros(tables.images, dtype=bool)
            found[tables.find_images(asked["text"][:200])] = True
            chosen &= found
        if asked.get("order") == "uncertain":
            lesson = self._of.lessons.now()
            if lesson is None:
                score = tables.uncertainty(groups(named, self._members))
            else:
                score = tables.doubt_of_images(lesson.doubt)
            chosen &= score > 0
        kept = np.flatnonzero(chosen)
        kept = kept[np.argsort(-score[kept], kind="stable")]
        offset = _number(request, "offset", 0, None)
        shown = kept[max(0, offset) :][: _number(request, "limit", 24, MAX_IMAGES)]
        return JSONResponse({"total": len(kept), "images": [self._image(int(image)) for image in shown]})

    def _image(self, image: int) -> dict[str, Any]:
        tables, named = self._of.tables, self._of.naming.now()
        image_id, rows = tables.image_ids[image].as_py(), tables.rows_of_image(image)
        return {
            "image": image,
            "id": image_id,
            "height": int(tables.heights[image]),
            "width": int(tables.widths[image]),
            "fine": tables.fine[rows].tolist(),
            "own": own_class(named, image_id),
        }

    def image(self, request: Request) -> Response:
        """Answer with all segments of an image."""
        image = self._checked_image(request)
        tables = self._of.tables
        rows = tables.rows_of_image(image)
        pixels = int(tables.heights[image]) * int(tables.widths[image])
        lesson = self._of.lessons.now()
        more = {
            "doubt": None if lesson is None else lesson.doubt[rows].round(4).tolist(),
            "second": tables.second[rows].tolist(),
            "margin": tables.margin[rows].round(4).tolist(),
            "share": (tables.pixels[rows] / pixels).round(5).tolist(),
        }
        return JSONResponse({**self._image(image), **more})

    def _checked_image(self, request: Request) -> int:
        image: int = request.path_params["image"]
        if not 0 <= image < self._of.tables.images:
            raise HTTPException(404)
        return image

    def crop(self, request: Request) -> Response:
        """Answer with a segment as JPEG."""
        image, segment, side = self._checked_image(request), request.path_params["segment"], request.path_params["side"]
        if side not in CROP_SIDES or not 0 <= segment < len(self._of.tables.rows_of_image(image)):
            raise HTTPException(404)
        return _picture(self._of.gallery.crop(image, segment, side), "image/jpeg")

    def photo(self, request: Request) -> Response:
        """Answer with an image as JPEG."""
        image, side = self._checked_image(request), request.path_params["side"]
        if side not in PHOTO_SIDES:
            raise HTTPException(404)
        return _picture(self._of.gallery.photo(image, side), "image/jpeg")

    def label_map(self, request: Request) -> Response:
        """Answer with the segments and the refined mask of an image as PNG."""
        return _picture(self._of.gallery.label_map(self._checked_image(request)), "image/png")

    def taught_map(self, request: Request) -> Response:
        """Answer with the segments and the taught classes of an image as PNG."""
        lesson, image = self._of.lessons.now(), self._checked_image(request)
        if lesson is None or request.path_params["version"] != lesson.version:
            raise HTTPException(404)
        return _picture(self._of.gallery.taught_map(image, lesson.masks), "image/png")

    def start(self, request: Request) -> Response:
        """Start a command on the run."""
        self._of.jobs.start(request.path_params["name"])
        return self.job(request)

    def job(self, request: Request) -> Response:
        """Answer how far a command is, and with what it changes."""
        return JSONResponse({**self._of.jobs.state(), **self._results()})

    def _results(self) -> dict[str, Any]:
        lesson = self._of.lessons.now()
        taught = None if lesson is None else lesson.to_json(self._of.tables)
        return {"metrics": self._of.metrics(), "taught": taught}


def _number(request: Request, name: str, default: int, most: int | None) -> int:
    try:
        number = int(request.query_params.get(name, default))
    except ValueError as error:
        raise HTTPException(400, f"{name} is no number") from error
    if most is not None and not 0 <= number <= most:
        raise HTTPException(400, f"{name} is between 0 and {most}")
    return number


def _picture(data: bytes, media: str) -> Response:
    return Response(data, media_type=media, headers={"cache-control": "private, max-age=86400, immutable"})
