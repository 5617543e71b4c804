"""The server of the explorer: which address is answered by what, and what an error looks like."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from importlib import resources

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from datus2_ray.errors import DatusError, ImageError, UsageError
from datus2_ray.explore.answers import Answers
from datus2_ray.explore.explored import Explored
from datus2_ray.explore.guard import Guard
from datus2_ray.explore.naming import ConflictError

MEDIA = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def build_app(explored: Explored, token: str, port: int) -> Starlette:
    """Return the application; it answers to requests of this machine with the token only."""
    answers = Answers(explored)
    static = _static_files()

    def page(request: Request) -> Response:
        if "token" in request.query_params:
            # The cookie is set now; the address in the browser's history has no token.
            return RedirectResponse("/", 303)
        return _file(static, "index.html")

    def file(request: Request) -> Response:
        return _file(static, request.path_params["name"])

    pictures = f"/pictures/{explored.version}"
    routes = [
        Route("/", page),
        Route("/static/{name}", file),
        Route("/api/run", answers.run),
        Route("/api/names", answers.names),
        Route("/api/edit", answers.edit, methods=["POST"]),
        Route("/api/samples/{node:int}/{kind}", answers.samples),
        Route("/api/images", answers.images),
        Route("/api/image/{image:int}", answers.image),
        Route("/api/job", answers.job),
        Route("/api/job/{name}", answers.start, methods=["POST"]),
        Route(pictures + "/crop/{image:int}/{segment:int}/{side:int}", answers.crop),
        Route(pictures + "/photo/{image:int}/{side:int}", answers.photo),
        Route(pictures + "/map/{image:int}", answers.label_map),
        Route(pictures + "/taught/{version}/{image:int}", answers.taught_map),
    ]
    hosts = ("127.0.0.1", "localhost")
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(Guard, token=token, port=port, hosts=hosts),
            Middleware(GZipMiddleware, minimum_size=2000, compresslevel=4),
        ],
        exception_handlers={ConflictError: _conflict, UsageError: _refused, DatusError: _failed, ImageError: _failed},
    )


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(24)


def _static_files() -> dict[str, bytes]:
    """Return the files of the page by name: what is not one of them is not served."""
    folder = resources.files("datus2_ray.explore").joinpath("static")
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in MEDIA}


def _file(static: dict[str, bytes], name: str) -> Response:
    if name not in static:
        raise HTTPException(404)
    return Response(static[name], media_type=MEDIA[name.rpartition(".")[2]], headers={"cache-control": "no-cache"})


def _error(status: int) -> Callable[[Request, Exception], Response]:
    return lambda request, error: Response(json.dumps({"error": str(error)}), status, media_type="application/json")


_conflict, _refused, _failed = _error(409), _error(422), _error(500)
