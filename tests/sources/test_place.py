"""What a source may be: a folder, one picture, one Parquet file, a pattern, a list of paths, a URI."""

from __future__ import annotations

import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datus2_ray.config import load
from datus2_ray.errors import StorageError, UsageError
from datus2_ray.sources.list_source import list_source
from datus2_ray.sources.place import find_place
from datus2_ray.store import parquet, storage


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def found(source: str, out: str = "/none") -> list[str]:
    """Return the paths that a source names, each read once, below its root."""
    place = find_place(storage.absolute(source), out)
    paths = [entry.path for entry in place.files]
    assert paths == sorted(set(paths))
    for entry in place.files:
        assert entry.size == len(storage.read_bytes(storage.join(place.root, entry.path)))
    return [storage.join(place.root, path) for path in paths]


def test_one_picture_is_a_source(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.jpg")
    assert found(f"{tmp_path}/a.jpg") == [f"{tmp_path}/a.jpg"]
    config = load({"source": f"{tmp_path}/a.jpg", "out": f"{tmp_path}/run", "clusters": 2})
    listing = list_source(config)
    assert (listing.root, listing.images) == (str(tmp_path), 1)
    expected = {"image_id": ["a"], "image": ["a.jpg"], "mask": [""], "drawn": [b""], "piece": [-1]}
    assert listing.parts["part-000000.parquet"] == expected


def test_one_parquet_file_is_a_source(tmp_path: Path) -> None:
    table = pa.table({"image": [{"bytes": b"1", "path": "a.jpg"}, {"bytes": b"2", "path": "b.jpg"}]})
    for name in ("train.parquet", "test.parquet"):
        pq.write_table(table, tmp_path / name)
    make(tmp_path, "teaser.jpg")
    listing = list_source(load({"source": f"{tmp_path}/train.parquet", "out": f"{tmp_path}/run", "clusters": 2}))
    assert listing.root == str(tmp_path)
    assert [part["shard"] for part in listing.parts.values()] == ["train.parquet"]
    assert listing.images == 2
    pattern = list_source(load({"source": f"{tmp_path}/t*.parquet", "out": f"{tmp_path}/run", "clusters": 2}))
    assert [part["shard"] for part in pattern.parts.values()] == ["test.parquet", "train.parquet"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ["a.jpg", "b.jpg"]),
        ("**/*.jpg", ["2023/d.jpg", "2024/sub/c.jpg", "a.jpg", "b.jpg"]),
        ("2024/**/*.jpg", ["2024/sub/c.jpg"]),
        ("202[34]", ["2023/d.jpg", "2024/sub/c.jpg"]),
        ("202?/*.jpg", ["2023/d.jpg"]),
        ("[ab].*", ["a.jpg", "b.jpg"]),
    ],
)
def test_a_pattern_is_a_source(tmp_path: Path, pattern: str, names: list[str]) -> None:
    make(tmp_path, "a.jpg", "b.jpg", "c.png", "2024/sub/c.jpg", "2023/d.jpg", "run/export/a.jpg")
    assert found(f"{tmp_path}/{pattern}", out=f"{tmp_path}/run") == [f"{tmp_path}/{name}" for name in names]


def test_a_name_with_wildcards_in_it_is_itself(tmp_path: Path) -> None:
    make(tmp_path, "[1]/a.jpg", "1/b.jpg", "c[2]?.jpg")
    assert found(f"{tmp_path}/[1]") == [f"{tmp_path}/[1]/a.jpg"]
    assert found(f"{tmp_path}/c[2]?.jpg") == [f"{tmp_path}/c[2]?.jpg"]


def test_a_pattern_without_a_match_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    with pytest.raises(UsageError, match=r"no file matches .*\*\.png"):
        found(f"{tmp_path}/*.png")
    with pytest.raises(StorageError, match="none does not exist"):
        found(f"{tmp_path}/none/*.png")


def test_a_text_file_of_paths_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "set/a b.jpg", "set/é/c.jpg", "home/d.jpg", "set/other.jpg")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    lines = ["# those of today", "", "  a b.jpg  ", "./é/../é/c.jpg", f"{tmp_path}/set/a b.jpg", "~/d.jpg",
             f"file://{tmp_path}/set/a%20b.jpg", "gone.jpg"]  # fmt: skip
    (tmp_path / "set" / "list.txt").write_bytes("\ufeff".encode() + "\r\n".join(lines).encode())
    assert found(f"{tmp_path}/set/list.txt") == [
        f"{tmp_path}/{n}" for n in ("home/d.jpg", "set/a b.jpg", "set/é/c.jpg")
    ]
    assert find_place(f"{tmp_path}/set/list.txt", "").notes == (
        f"paths that the list names more than once: 1, for example {tmp_path}/set/a b.jpg",
        f"paths of the list that name no file: 1, for example {tmp_path}/set/gone.jpg",
    )


def test_lists_as_other_programs_write_them(tmp_path: Path) -> None:
    make(tmp_path, "a b.jpg", "\u00e9.jpg")
    text = "\r\n".join(["a b.jpg", "\u00e9.jpg"])
    for data in (text.encode("utf-16"), "\n".join(f'"{line}"' for line in text.split("\r\n")).encode()):
        (tmp_path / "list.txt").write_bytes(data)
        assert found(f"{tmp_path}/list.txt") == [f"{tmp_path}/a b.jpg", f"{tmp_path}/\u00e9.jpg"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "has no paths in it"),
        (b"gone.jpg", "no path in .* names a file, of 1 such as"),
        (b"\xfftext", "no UTF-8 text"),
        (b"gone.jpg a.png", r"such as .*/gone\.jpg a\.png; give one per line"),
        (b"s3://a/b.jpg\n/c.jpg", "several stores"),
        (b"s3://a/b.jpg\ns3://b/b.jpg", "several stores"),
    ],
)
def test_a_list_that_names_nothing_is_refused(tmp_path: Path, text: bytes, reason: str) -> None:
    (tmp_path / "list.txt").write_bytes(text)
    with pytest.raises(UsageError, match=reason) as caught:
        found(f"{tmp_path}/list.txt")
    assert "\n" not in str(caught.value)


def test_an_archive_is_refused_with_the_remedy(tmp_path: Path) -> None:
    make(tmp_path, "set.zip")
    with pytest.raises(UsageError, match=r"set\.zip is an archive; unpack it"):
        found(f"{tmp_path}/set.zip")


def test_file_uris_and_the_home_folder_are_local_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a b/c.jpg")
    monkeypatch.setenv("HOME", str(tmp_path))
    for source in (f"file://{tmp_path}/a%20b", f"file://localhost{tmp_path}/a b", "~/a b", "~/*/c.jpg"):
        assert found(source) == [f"{tmp_path}/a b/c.jpg"]
    with pytest.raises(StorageError, match="names the machine server"):
        found("file://server/share")


def test_other_stores_are_read_by_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    store = fsspec.filesystem("memory")
    names = ["a.jpg", "sub/b.jpg", "sub/@eaDir/t.jpg"]
    for name in names:
        store.pipe(f"/set/{name}", name.encode())
    assert found("memory://set") == ["memory://set/a.jpg", "memory://set/sub/b.jpg"]
    assert found("memory://set/sub/b.jpg") == ["memory://set/sub/b.jpg"]
    assert found("memory://set/*.jpg") == ["memory://set/a.jpg"]
    parquet.write_table("memory://out/t.parquet", pa.table({"x": [1, 2]}))
    assert parquet.read_table("memory://out/t.parquet", ["x"])["x"].to_pylist() == [1, 2]
    storage.remove("memory://out")
    assert not storage.exists("memory://out/t.parquet")
    with pytest.raises(StorageError, match="cannot read memory://set/none"):
        storage.read_bytes("memory://set/none")


def test_a_picture_on_the_web_is_a_source(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.jpg")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        assert found(f"{root}/a.jpg") == [f"{root}/a.jpg"]
        (tmp_path / "list.txt").write_text(f"{root}/a.jpg\n{root}/b.jpg\n")
        assert found(f"{tmp_path}/list.txt") == [f"{root}/a.jpg", f"{root}/b.jpg"]
        with pytest.raises(StorageError, match=r"none\.jpg does not exist"):
            found(f"{root}/none.jpg")
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gs://bucket/set", r"gs:// needs a package that is not installed: pip install gcsfs"),
        ("az://container/set", r"az:// needs a package that is not installed: pip install adlfs"),
        ("gopher://host/set", r"gopher:// is no store that is known"),
        ("github://nobody", r"cannot reach github://nobody: .*"),
        ("s3a:///", r"s3:// is neither a local path nor s3://BUCKET/KEY"),
    ],
)
def test_a_store_without_its_package_is_said_to_lack_it(
    source: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StorageError, match=message) as caught:
        found(source)
    assert "\n" not in str(caught.value)
