"""An S3 server on the loopback device, and a server before it that is slow or fails."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from filelock import FileLock

#: The S3 server, in an environment of its own because the package needs none of its dependencies.
MOTO = "moto[server]==5.2.5"


@contextmanager
def serve_s3(port: int) -> Iterator[str]:
    """Serve S3 on the loopback device and yield the address."""
    environment = Path(__file__).parents[1] / ".moto"
    # Two processes run tests at once, and each has a server.
    with FileLock(f"{environment}.lock"):
        _install(environment)
    server = subprocess.Popen(
        [environment / "bin" / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(900):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _install(environment: Path) -> None:
    """Install the server where it is not there."""
    if not (environment / "bin" / "moto_server").exists():
        # By this environment's own pip where it has one: to make another takes longer than to install the server.
        # Not by importlib.util.find_spec: once that has named pip, setuptools cannot be imported in this process (its
        # _distutils_hack stands back for pip), and torch.compile imports it.
        shared = any(Path(folder, "pip").is_dir() for folder in sys.path)
        subprocess.run([sys.executable, "-m", "venv", *["--without-pip"] * shared, environment], check=True)
        python = environment / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", python] if shared else [python, "-m", "pip"]
        subprocess.run([*pip, "install", "--quiet", "--no-compile", MOTO], check=True)


@contextmanager
def put_before(
    server: str, fault: Callable[[int, str], tuple[int, str] | None] = lambda number, method: None, delay: float = 0.0
) -> Iterator[str]:
    """Put a server before the S3 server, which adds `delay` seconds to each request, and yield its address.

    It answers those requests itself for which `fault`, given their number and method, returns a status and an error
    code of S3.
    """
    lock, seen = threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Else every body waits 40 ms until the client has acknowledged the headers before it.
        disable_nagle_algorithm = True

        def answer(self) -> None:
            with lock:
                seen[0] += 1
                wrong = fault(seen[0], self.command)
            body = self.body()
            time.sleep(delay)
            if wrong is not None:
                text = f"<Error><Code>{wrong[1]}</Code><Message>made</Message></Error>".encode()
                self.reply(wrong[0], {}, b"" if self.command == "HEAD" else text)
                return
            # What two neighbours say to each other: how the body is framed, and whether it may come.
            own = ("host", "connection", "expect", "transfer-encoding")
            headers = {k: v for k, v in self.headers.items() if k.lower() not in own}
            request = urllib.request.Request(server + self.path, body or None, headers, method=self.command)
            try:
                with urllib.request.urlopen(request) as found:
                    self.reply(found.status, dict(found.headers), found.read())
            except urllib.error.HTTPError as error:
                self.reply(error.code, dict(error.headers), error.read())

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            length = headers.get("Content-Length", str(len(body))) if self.command == "HEAD" else str(len(body))
            for key, value in headers.items():
                if key.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(key, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{proxy.server_address[1]}"
    proxy.shutdown()
