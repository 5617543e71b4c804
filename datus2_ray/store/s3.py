"""S3 and what speaks like it: opened by the usual AWS settings, patient with throttling, its errors in plain words."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import pyarrow.fs as pafs

T = TypeVar("T")

#: Requests that are throttled (503 SlowDown), or fail with a 5xx or a broken connection, are tried so often in all by
#: the AWS library, with pauses that double.
ATTEMPTS = 8

#: The library gives up at once where the store's answer is longer than the object that was asked for (a small image,
#: say): such a call is made again after these seconds.
PAUSES = (0.1, 0.5, 2.0, 8.0)
TRANSIENT = re.compile(r"SLOW_DOWN|SlowDown|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|HTTP status 5\d\d")

#: Seconds to wait for a connection, and for bytes.
CONNECT_SECONDS, REQUEST_SECONDS = 10, 60

#: From what the AWS library says to what a user can do about it; the first that fits counts.
EXPLANATIONS = (
    (
        r"NO_SUCH_BUCKET|NoSuchBucket|Bucket '.*' not found",
        "there is no bucket {bucket}; create it, or correct the URI",
    ),
    (
        r"INVALID_ACCESS_KEY_ID|InvalidAccessKeyId|UNRECOGNIZED_CLIENT|INVALID_CLIENT_TOKEN_ID|InvalidClientTokenId",
        "the access key is not known there; check AWS_ACCESS_KEY_ID, AWS_PROFILE or the machine's role",
    ),
    (
        r"SIGNATURE_DOES_NOT_MATCH|SignatureDoesNotMatch",
        "the secret key does not fit the access key; check AWS_SECRET_ACCESS_KEY",
    ),
    (r"EXPIRED_TOKEN|ExpiredToken|TokenRefreshRequired", "the credentials have expired; log in again"),
    (
        r"ACCESS_DENIED|AccessDenied|HTTP status 403|Forbidden",
        "access was denied; the credentials need the rights to list, get, put and delete there",
    ),
    (
        r"HTTP status 301|PermanentRedirect|AuthorizationHeaderMalformed|HTTP status 400.*HeadBucket",
        "the bucket lies in another region; set AWS_REGION to it",
    ),
    (
        r"NETWORK_CONNECTION|Could not connect|Could not resolve",
        "no answer from {endpoint}; check AWS_ENDPOINT_URL and the network",
    ),
    (r"SLOW_DOWN|SlowDown|SERVICE_UNAVAILABLE|HTTP status 5\d\d|INTERNAL_FAILURE",
     "the store went on refusing; try again later, or with fewer actors"),
)  # fmt: skip


@lru_cache(maxsize=64)
def open_bucket(bucket: str) -> pafs.S3FileSystem:
    """Open the file system of a bucket.

    Parameters
    ----------
    bucket : str
        Its name. Credentials come from the usual chain (environment, profile, role of the machine), the endpoint from
        ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL``, the region from ``AWS_REGION`` or ``AWS_DEFAULT_REGION``, else
        from the bucket itself.

    Raises
    ------
    OSError
        The bucket's region cannot be found.
    """
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None and endpoint() is None:
        region = pafs.resolve_s3_region(bucket)
    return pafs.S3FileSystem(
        region=region,
        endpoint_override=endpoint(),
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
    )


def patiently(call: Callable[[], T]) -> T:
    """Make a call, and again after a while where the store was only busy."""
    for pause in PAUSES:
        try:
            return call()
        except OSError as error:
            if not TRANSIENT.search(str(error)):
                raise
            time.sleep(pause)
    return call()


def endpoint() -> str | None:
    """Give the address of a store that is not AWS's own, as the environment names it."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def explain(message: str, bucket: str) -> str:
    """Turn an error of the AWS library into one line that says what to do; it never holds a key.

    Parameters
    ----------
    message : str
        What the library said.
    bucket : str
        The bucket that was asked.
    """
    for pattern, explanation in EXPLANATIONS:
        if re.search(pattern, message):
            return explanation.format(bucket=bucket, endpoint=endpoint() or "AWS")
    return re.sub(r" ?\(Request ID: [^)]*\)", "", message.splitlines()[0] if message else "unknown error")


class PatientFile:
    """A file in a bucket, for readers that ask for many pieces of it: each piece is tried again by itself.

    To try the whole table again would not do: it takes a dozen requests, and where a fifth of them is refused hardly
    ever all succeed.

    Parameters
    ----------
    filesystem : S3FileSystem
        As :func:`open_bucket` gives it.
    path : str
        Bucket and key.
    """

    closed = False

    def __init__(self, filesystem: pafs.FileSystem, path: str) -> None:
        self._file = patiently(lambda: filesystem.open_input_file(path))
        self._size = patiently(self._file.size)
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or the rest."""
        rest = self._size - self._at
        count = rest if size is None or size < 0 else min(size, rest)
        data = patiently(lambda: self._file.read_at(count, self._at))
        self._at += len(data)
        return bytes(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, counted from the start, from here, or from the end."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """Give the place."""
        return self._at

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that any place can be gone to."""
        return True

    def writable(self) -> bool:
        """Tell that it cannot be written."""
        return False

    def close(self) -> None:
        """Let go of it."""
        self._file.close()
        self.closed = True
