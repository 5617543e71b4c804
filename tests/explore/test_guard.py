"""Who is answered: this machine's browser with the token, and nobody else; and what the pages may do."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from datus2_ray.explore.server import _static_files
from datus2_ray.store.names import read_names
from tests.explore.conftest import TOKEN, Served

Serve = Callable[..., Served]

PATHS = [
    "/",
    "/static/app.js",
    "/api/run",
    "/api/names",
    "/api/samples/3/nearest",
    "/api/images",
    "/api/image/0",
    "/api/job",
]
EDIT = {"expected": 0, "edit": {"do": "add", "name": "road"}}


def test_nothing_is_answered_without_the_token(serve: Serve) -> None:
    served = serve()
    pictures = json.loads(served.ask("GET", "/api/run")[2])["pictures"]
    paths = [*PATHS, f"{pictures}/crop/0/0/112", f"{pictures}/photo/0/320", f"{pictures}/map/0", "/not-there"]
    cookie = f"datus2-explore-{served.port}"
    for path in paths:
        for wrong in (None, f"{cookie}=", f"{cookie}=wrong", f"other={TOKEN}", f"datus2-explore-1={TOKEN}"):
            status, headers, body = served.ask("GET", path, cookie=wrong)
            assert (status, headers["content-type"]) == (401, "text/plain; charset=utf-8"), path
            assert TOKEN.encode() not in body
    for wrong in ("?token=", "?token=wrong", f"?token={TOKEN}x", "?token=%ff", f"?token=x&token={TOKEN}x"):
        assert served.ask("GET", f"/{wrong}", cookie=None)[0] == 401
    for path in ("/api/edit", "/api/job/teach"):
        assert served.ask("POST", path, EDIT, cookie=None)[0] == 401
    assert read_names(served.run).classes == ()


def test_the_link_sets_a_cookie_that_scripts_cannot_read_and_leaves_no_token_in_the_address(served: Served) -> None:
    status, headers, _ = served.ask("GET", f"/?token={TOKEN}", cookie=None)
    assert (status, headers["location"]) == (303, "/")
    assert headers["set-cookie"].startswith(f"datus2-explore-{served.port}={TOKEN}; ")
    assert {"HttpOnly", "SameSite=Lax"} <= set(headers["set-cookie"].split("; "))
    assert "set-cookie" not in served.ask("GET", "/")[1]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "", "0.0.0.0:{port}"]
)
def test_a_page_of_another_name_that_resolves_to_this_machine_is_refused(served: Served, host: str) -> None:
    assert served.ask("GET", "/api/run", host=host.format(port=served.port))[0] == 421


def test_changes_of_other_pages_are_refused(serve: Serve) -> None:
    served = serve()
    for headers in (
        {"origin": None}, {"origin": "null"}, {"origin": "http://evil.example"},
        {"origin": f"http://127.0.0.1:{served.port + 1}"}, {"origin": f"https://127.0.0.1:{served.port}"},
    ):  # fmt: skip
        assert served.ask("POST", "/api/edit", EDIT, **headers)[0] == 403
    assert served.ask("POST", "/api/edit", EDIT, content_type="text/plain")[0] == 415
    assert served.ask("POST", "/api/edit", EDIT, content_type="application/x-www-form-urlencoded")[0] == 415
    assert served.ask("POST", "/api/edit", EDIT, content_length="99999999")[0] == 413
    assert served.ask("GET", "/api/edit")[0] == 405
    assert read_names(served.run).classes == ()
    assert served.ask("POST", "/api/edit", EDIT)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e/server.py",
        "/static//etc/passwd",
        "/static/__init__.py",
        "/etc/passwd",
        "//etc/passwd",
        "/../../etc/passwd",
        "/pictures/../run.json",
        "/run.json",
        "/names.yaml",
        "{pictures}/photo/..%2f..%2frun.json/320",
        "{pictures}/photo/-1/320",
        "{pictures}/photo/10/320",
        "{pictures}/photo/99999999999999999999/320",
        "{pictures}/photo/0/99999",
        "{pictures}/crop/0/6/112",
        "{pictures}/crop/0/-1/112",
        "{pictures}/crop/0/0/4000",
        "{pictures}/map/10",
        "/pictures/0123456789ab/photo/0/320",
        "/api/image/10",
        "/api/samples/23/nearest",
        "/api/samples/0/../nearest",
        "/api/samples/0/all",
    ],
)
def test_no_path_leads_out_of_what_is_served(served: Served, path: str) -> None:
    pictures = json.loads(served.ask("GET", "/api/run")[2])["pictures"]
    status, headers, body = served.ask("GET", path.format(pictures=pictures))
    assert status == 404
    assert b"root:" not in body
    assert b"fingerprint" not in body
    assert headers["content-security-policy"].startswith("default-src 'none'; ")


@pytest.mark.parametrize(
    "query", ["node=x", "node=-1", "node=23", "class=5", "class=-2", "limit=121", "limit=-1", "offset=x"]
)
def test_a_wrong_question_is_an_error_of_one_line(served: Served, query: str) -> None:
    status, _, body = served.ask("GET", f"/api/images?{query}")
    assert status in (400, 422)
    assert b"\n" not in body
    assert b"Traceback" not in body


def test_every_answer_has_the_headers(served: Served) -> None:
    answers = [served.ask("GET", path)[1] for path in [*PATHS, "/not-there"]]
    answers += [served.ask("GET", "/", cookie=None)[1], served.ask("POST", "/api/edit", b"{")[1]]
    for headers in answers:
        policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert "http" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
    assert answers[2]["cache-control"] == "no-store"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.links: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = dict(attributes)
        self._script = tag == "script"
        self.inline += [name for name in names if name.startswith("on") or name == "style"]
        self.links += [names[name] or "" for name in ("src", "href") if name in names]

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(data)


def test_the_page_loads_only_what_is_served_and_works_offline() -> None:
    static, tags = _static_files(), _Tags()
    tags.feed(static["index.html"].decode())
    assert tags.inline == []
    files = [link for link in tags.links if not link.startswith("#")]
    assert files
    assert {link.rpartition("/")[2] for link in files} <= set(static)
    for name, data in static.items():
        text = data.decode().replace("http://www.w3.org/2000/svg", "")
        assert not any(word in text for word in ("http://", "https://", "@import")), name
        # Text from data may only become text.
        assert not any(
            word in text for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
        ), name
