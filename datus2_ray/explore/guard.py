"""Who may talk to the explorer: this machine, with the token; and what its pages may do: nothing but themselves."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Scripts and styles from files of this server only, none in the page; nothing from elsewhere, in no frame.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}

#: Bytes of a request; a longer one is refused before it is read.
MAX_BODY = 4 * 2**20


class Guard:
    """Middleware: refuses requests without the token, of other hosts or pages, and sets the headers of all answers.

    The token is in the link that the terminal shows; the answer to it sets a cookie, which scripts cannot read. Cookies
    know no ports: their name has the port in it.
    """

    def __init__(self, app: ASGIApp, token: str, port: int, hosts: tuple[str, ...]) -> None:
        self._app, self._token, self._port, self._hosts = app, token, port, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers, cookie = Headers(scope=scope), False

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer.update(HEADERS)
                answer.setdefault("cache-control", "no-store")
                if cookie:
                    answer.append(
                        "set-cookie", f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Lax; Max-Age=604800"
                    )
            await send(message)

        refusal = self._refusal(scope, headers)
        cookie = refusal is None and self._is_token(QueryParams(scope["query_string"]).get("token"))
        answer = PlainTextResponse(refusal[1], refusal[0]) if refusal else self._app
        await answer(scope, receive, with_headers)

    @property
    def _cookie(self) -> str:
        return f"datus2-explore-{self._port}"

    def _is_token(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), self._token.encode())

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        # A page of another name that resolves to this machine is not to be served (DNS rebinding).
        host = headers.get("host", "").rpartition(":")[0]
        if host not in self._hosts:
            return 421, "this server answers to its own address only"
        given = QueryParams(scope["query_string"]).get("token")
        if not (self._is_token(given) or self._is_token(HTTPConnection(scope).cookies.get(self._cookie))):
            return 401, "open the link that `datus2 explore` shows in the terminal: it has the token of this server"
        if scope["method"] not in ("GET", "HEAD"):
            # The cookie travels with requests of other ports of this machine too; their origin tells them apart.
            if headers.get("origin") != f"http://{headers['host']}":
                return 403, "changes are taken from this server's own page only"
            if headers.get("content-type") != "application/json":
                return 415, "send JSON"
            length = headers.get("content-length", "")
            if not length.isdigit() or int(length) > MAX_BODY:
                return 413, "this request has no length or is too long"
        return None
