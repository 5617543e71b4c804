"""S3 as it is met in practice: what storage promises, throttling, and what goes wrong, in one line each."""

from __future__ import annotations

import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pytest

from datus2_ray.errors import MissingFileError, StorageError
from datus2_ray.store import bucket_walk, folders, parquet, s3, storage
from datus2_ray.store.bucket_walk import walk_bucket
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered
from datus2_ray.store.run_folder import RunFolder
from datus2_ray.store.walk import PassedOver

SECRET = "a-secret-of-the-tests"


@pytest.fixture(autouse=True)
def fresh_connections() -> Iterator[None]:
    s3.open_bucket.cache_clear()
    yield
    s3.open_bucket.cache_clear()


def test_storage_keeps_its_promises_there(bucket):
    root = f"s3://{bucket}/run"
    storage.write_bytes(f"{root}/a/b.bin", b"one")
    storage.write_bytes(f"{root}/a/b.bin", b"two")
    parquet.write_table(f"{root}/t.parquet", pa.table({"x": [1, 2, 3]}))
    assert storage.read_bytes(f"{root}/a/b.bin") == b"two"
    assert parquet.count_rows(f"{root}/t.parquet") == 3
    assert [(entry.path, entry.size > 0) for entry in folders.list_files(root)] == [
        ("a/b.bin", True),
        ("t.parquet", True),
    ]
    assert folders.list_names(root) == {"a", "t.parquet"}
    assert folders.list_names(f"{root}/none") == set()
    assert storage.exists(f"{root}/a")
    assert not storage.exists(f"{root}/none")
    assert not folders.is_empty(root)
    storage.remove(root)
    assert folders.is_empty(root)
    storage.remove(root)


def test_a_run_folder_works_there(bucket):
    folder = RunFolder(f"s3://{bucket}/deep/run")
    folder.claim("s3://elsewhere/images", "run")
    stamp, part = "0123456789abcdef", "part-000000.parquet"
    assert folder.begin("discover", stamp, {}) == set()
    commit = Commit(folder.result("discover", stamp), stamp, 1, 1, 0, {part: 1}, Discovered())
    parquet.write_table(commit.path(part), pa.table({"x": [1]}))
    assert folder.is_begun("discover", stamp)
    assert folder.begin("discover", stamp, {}) == {part}
    folder.commit(commit)
    folder.set_current({"discover": stamp})
    assert folder.require(Discovered) == commit
    assert not folder.is_begun("discover", "another0another0")
    assert folder.find(Discovered, "another0another0") is None


@pytest.mark.parametrize("call", [folders.list_files, storage.read_bytes, parquet.read_table, parquet.count_rows])
def test_what_is_missing_is_named(bucket, call):
    with pytest.raises(StorageError, match=f"s3://{bucket}/none") as caught:
        call(f"s3://{bucket}/none")
    assert "\n" not in str(caught.value)


def test_a_missing_bucket_is_named(s3_server):
    with pytest.raises(StorageError, match=r"cannot write s3://no-such-bucket/x: there is no bucket no-such-bucket"):
        storage.write_bytes("s3://no-such-bucket/x", b"")


def test_a_uri_without_a_bucket_is_refused():
    with pytest.raises(StorageError, match="neither a local path nor s3://BUCKET/KEY"):
        storage.exists("s3://")


def put(bucket: str, key: str, data: bytes) -> None:
    """Write a key that pyarrow would not write."""
    from urllib.parse import quote

    address = f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}/{quote(key)}"
    urllib.request.urlopen(urllib.request.Request(address, data, {"Content-Type": "image/jpeg"}, method="PUT")).close()


def test_markers_of_folders_are_no_files(bucket):
    for key in ("set", "set/", "set/train", "set/train/", "set/val_$folder$", "set/_$folder$"):
        put(bucket, key, b"")
    for key in ("set/a.jpg", "set/train/b.jpg", "set/val/c.jpg"):
        put(bucket, key, b"data")
    put(bucket, "set/train/empty.jpg", b"")
    passed_over = PassedOver()
    found = sorted(folders.stream_files(f"s3://{bucket}/set", passed_over), key=lambda entry: entry.path)
    assert [(entry.path, entry.size) for entry in found] == [
        ("a.jpg", 4),
        ("train/b.jpg", 4),
        ("train/empty.jpg", 0),
        ("val/c.jpg", 4),
    ]
    assert passed_over.counts == {"markers of folders, without bytes": 3}


def test_keys_with_odd_characters_are_read_and_those_that_cannot_be_are_named(bucket):
    odd = ["a?b=c.jpg", "a#b.jpg", "a+b.jpg", "a%20b.jpg", "a b .jpg", "ä&é;.jpg", "e\u0301.jpg", "t\tb.jpg",
           "[1]*.jpg", "back\\slash.jpg", "sp ace /a:b.jpg"]  # fmt: skip
    for key in (*odd, "x//double.jpg", ".hidden/a.jpg", "@eaDir/a.jpg"):
        put(bucket, f"odd/{key}", key.encode())
    root, passed_over = f"s3://{bucket}/odd", PassedOver()
    found = [entry.path for entry in folders.stream_files(root, passed_over)]
    assert sorted(found) == sorted(odd)
    for path in found:
        assert storage.read_bytes(storage.join(root, path)) == path.encode()
    assert passed_over.first["keys with a part that is empty, . or .., which cannot be read; rename them"] == (
        "x//double.jpg"
    )
    assert passed_over.counts["hidden files and folders, or those of the system"] == 2


def test_a_listing_of_a_slow_store_shows_life_and_can_be_interrupted(bucket, faulty, monkeypatch):
    put(bucket, "slow/a/1.jpg", b"data")

    def wait(number: int, method: str) -> None:
        time.sleep(3)

    with faulty(wait) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3.open_bucket.cache_clear()
        filesystem, root = storage.resolve(f"s3://{bucket}/slow")
        monkeypatch.setattr(bucket_walk, "TICK_SECONDS", 0.05)
        ticks: list[float] = []

        def tick() -> None:
            ticks.append(time.monotonic())
            if len(ticks) == 3:
                raise KeyboardInterrupt

        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            list(walk_bucket(root, partial(folders._children, filesystem), PassedOver(), tick))
        assert time.monotonic() - start < 2


@pytest.mark.parametrize(("changes", "signed"), [({}, True), ({"AWS_NO_SIGN_REQUEST": "yes"}, False), (None, False)])
def test_a_public_bucket_is_read_without_credentials(tmp_path, monkeypatch, changes, signed):
    if changes is None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in (changes or {}).items():
        monkeypatch.setenv(name, value)
    seen: list[bool] = []

    class Public(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append("Authorization" in self.headers)
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(b"data")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Public)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    assert storage.read_bytes("s3://public/a.jpg") == b"data"
    server.shutdown()
    assert set(seen) == {signed}


def test_credentials_that_expire_are_named_whatever_is_asked(bucket, faulty, monkeypatch):
    storage.write_bytes(f"s3://{bucket}/x/a.jpg", b"data")
    with faulty(lambda number, method: (400, "ExpiredToken")) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3.open_bucket.cache_clear()
        for call in (
            folders.list_files,
            storage.exists,
            storage.read_bytes,
            parquet.read_table,
            storage.remove,
            lambda uri: storage.write_bytes(uri, b""),
        ):
            with pytest.raises(
                StorageError, match=r"credentials have expired.* log in again.* the same command"
            ) as caught:
                call(f"s3://{bucket}/x")
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (503, "ServiceUnavailable")])
def test_throttling_and_faults_of_the_store_are_retried(bucket, faulty, monkeypatch, status, code):
    storage.write_bytes(f"s3://{bucket}/x", b"data")
    refused = []

    def fault(number: int, method: str) -> tuple[int, str] | None:
        if method == "GET" and len(refused) < 3:
            refused.append(number)
            return status, code
        return None

    with faulty(fault) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3.open_bucket.cache_clear()
        assert storage.read_bytes(f"s3://{bucket}/x") == b"data"
    assert len(refused) == 3


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "AccessDenied", "access was denied"),
        (403, "InvalidAccessKeyId", "check AWS_ACCESS_KEY_ID|access was denied"),
        (403, "SignatureDoesNotMatch", "check AWS_SECRET_ACCESS_KEY|access was denied"),
        (301, "PermanentRedirect", "another region; set AWS_REGION"),
    ],
)
def test_what_a_store_refuses_is_one_line_without_a_secret(bucket, faulty, monkeypatch, status, code, reason):
    with faulty(lambda number, method: (status, code)) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3.open_bucket.cache_clear()
        for call in (folders.list_files, storage.read_bytes):
            with pytest.raises(StorageError, match=reason) as caught:
                call(f"s3://{bucket}/x")
            assert str(caught.value).startswith(f"cannot read s3://{bucket}/x: ")
            assert "\n" not in str(caught.value)
            assert SECRET not in str(caught.value)


def test_a_store_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    with pytest.raises(StorageError, match=r"no answer from http://127\.0\.0\.1:1; check AWS_ENDPOINT_URL"):
        storage.read_bytes("s3://bucket/x")


def test_a_missing_object_is_told_from_a_store_that_refuses(bucket, faulty, monkeypatch):
    with pytest.raises(MissingFileError):
        storage.read_bytes(f"s3://{bucket}/none.jpg")
    storage.write_bytes(f"s3://{bucket}/x.jpg", b"data")
    with faulty(lambda number, method: (403, "ExpiredToken")) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3.open_bucket.cache_clear()
        with pytest.raises(StorageError) as caught:
            storage.read_bytes(f"s3://{bucket}/x.jpg")
    assert not isinstance(caught.value, MissingFileError)


def test_a_table_is_read_where_every_other_request_is_refused(bucket, faulty, monkeypatch):
    uri = f"s3://{bucket}/t.parquet"
    table = pa.table({"x": list(range(1000)), "y": [b"y" * 100] * 1000, "z": ["z"] * 1000})
    parquet.write_table(uri, table, row_group_rows=100)
    with faulty(lambda number, method: (503, "SlowDown") if number % 2 else None) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3.open_bucket.cache_clear()
        assert parquet.read_table(uri, ["z", "x"]).equals(table.select(["z", "x"]))
        assert parquet.read_row_group(uri, 3, ["x"])["x"].to_pylist() == list(range(300, 400))
        assert parquet.count_rows(uri) == 1000


def test_what_may_be_missing_is_asked_for_once(bucket, faulty, monkeypatch):
    root, seen = f"s3://{bucket}/run", []
    storage.write_json(f"{root}/there.json", [1])
    parquet.write_table(f"{root}/there.parquet", pa.table({"x": [1]}))
    with faulty(lambda number, method: seen.append(method)) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3.open_bucket.cache_clear()
        assert storage.if_there(storage.read_json, f"{root}/none.json") is None
        assert storage.if_there(parquet.read_table, f"{root}/none.parquet") is None
        assert seen == ["HEAD", "HEAD"]
        assert storage.if_there(storage.read_json, f"{root}/there.json") == [1]
        assert seen[2:] == ["HEAD", "GET"]
        assert storage.if_there(parquet.read_table, f"{root}/there.parquet").num_rows == 1
        del seen[:]
        assert folders.list_names(root) == {"there.json", "there.parquet"}
        assert seen == ["GET"]
        storage.remove_file(f"{root}/none.json")
        assert seen == ["GET", "HEAD"]
        storage.remove_file(f"{root}/there.json")
        assert not storage.exists(f"{root}/there.json")


def test_what_a_store_refuses_is_not_missing(bucket, faulty, monkeypatch):
    with faulty(lambda number, method: (403, "AccessDenied")) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3.open_bucket.cache_clear()
        for read in (storage.read_json, parquet.read_table):
            with pytest.raises(StorageError, match="access was denied"):
                storage.if_there(read, f"s3://{bucket}/x")
        with pytest.raises(StorageError, match="access was denied"):
            folders.list_names(f"s3://{bucket}/x")


def test_a_small_file_is_written_by_one_request(bucket, faulty, monkeypatch):
    seen = []
    with faulty(lambda number, method: seen.append(method)) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        storage.write_bytes(f"s3://{bucket}/small", b"x" * 1000)
        storage.write_bytes(f"s3://{bucket}/empty", b"")
        assert seen == ["PUT", "PUT"]
        assert storage.read_bytes(f"s3://{bucket}/small") == b"x" * 1000
        assert storage.read_bytes(f"s3://{bucket}/empty") == b""
