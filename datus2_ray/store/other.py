"""Stores other than local disks and S3, by fsspec: ``gs://``, ``az://``, ``hf://``, ``https://`` and so on."""

from __future__ import annotations

import hashlib
from typing import Any

import fsspec.core
import pyarrow as pa
import pyarrow.fs as pafs
from fsspec.registry import known_implementations

from datus2_ray.errors import StorageError

#: What an entry of a store says about its version, whichever of them it has.
_VERSIONS = ("ETag", "etag", "generation", "md5Hash", "blob_id", "mtime", "LastModified", "last_modified", "updated")

#: Packages of stores, as pip knows them, where fsspec's own word for what is missing is less clear.
_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs", "hf": "huggingface_hub",
             "http": "aiohttp", "https": "aiohttp"}  # fmt: skip


class _Handler(pafs.FSSpecHandler):  # type: ignore[misc]
    """Turns a version of a file into its time of change, where the store has no such time.

    It asks a store by ``info`` before it opens, lists or deletes: fsspec's ``isfile``, ``isdir`` and ``exists``, which
    Arrow calls, say of any error that there is no file.
    """

    @staticmethod
    def _create_file_info(path: str, info: dict[str, Any]) -> pafs.FileInfo:
        kinds = {"file": pafs.FileType.File, "directory": pafs.FileType.Directory}
        kind = kinds.get(info["type"], pafs.FileType.Unknown)
        version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
        stamp = int.from_bytes(hashlib.blake2b(version.encode(), digest_size=7).digest(), "little") if version else 0
        return pafs.FileInfo(path, kind, size=info["size"] if info["type"] == "file" else None, mtime_ns=stamp)

    def _check_file(self, path: str) -> None:
        if self.fs.info(path)["type"] == "directory":
            raise IsADirectoryError(path)

    def get_file_info_selector(self, selector: Any) -> list[pafs.FileInfo]:
        try:
            self.fs.info(selector.base_dir)
        except FileNotFoundError:
            if not selector.allow_not_found:
                raise
            return []
        found: list[pafs.FileInfo] = super().get_file_info_selector(selector)
        return found

    def delete_file(self, path: str) -> None:
        self._check_file(path)
        self.fs.rm_file(path)  # rm() would expand wildcards in the path

    def open_input_stream(self, path: str) -> pa.PythonFile:
        self._check_file(path)
        return pa.PythonFile(self.fs.open(path, mode="rb"), mode="r")

    open_input_file = open_input_stream


def open_store(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a URI, and the path within it.

    Raises
    ------
    StorageError
        If fsspec does not know the scheme, its package is not installed, or the store cannot be opened.
    """
    scheme = uri.partition("://")[0]
    if scheme not in known_implementations:
        raise StorageError(
            f"{scheme}:// is no store that is known; give a local path, s3://BUCKET/KEY, gs://, az://, hf://, https:// "
            "or another scheme of fsspec"
        )
    try:
        store, path = fsspec.core.url_to_fs(uri)  # fsspec keeps one object per store and options
    except ImportError as error:
        package = _PACKAGES.get(scheme)
        remedy = f"pip install {package}" if package else known_implementations[scheme].get("err", str(error))
        raise StorageError(
            f"{scheme}:// needs a package that is not installed: {remedy}; on a cluster, on every node"
        ) from error
    except Exception as error:  # each store has its own errors for missing accounts and credentials
        reason = " ".join(str(error).split())[:300]
        raise StorageError(f"cannot reach {uri}: {reason or type(error).__name__}") from error
    return pafs.PyFileSystem(_Handler(store)), str(path)
