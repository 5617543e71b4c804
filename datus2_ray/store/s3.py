"""S3 and stores with its protocol: opened by the usual AWS settings, retried while busy, with errors in one line."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import pyarrow.fs as pafs

T = TypeVar("T")

#: Attempts of the AWS library per request that is throttled or fails, with pauses that double.
ATTEMPTS = 8

#: Seconds before a whole call is repeated: the library does not retry if the store's error message is longer than the
#: object that was asked for (a small image, for instance).
PAUSES = (0.1, 0.5, 2.0, 8.0)
TRANSIENT = re.compile(r"SLOW_DOWN|SlowDown|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|HTTP status 5\d\d")

CONNECT_SECONDS, REQUEST_SECONDS = 10, 60

#: Patterns of the AWS library's messages, and what a user can do; the first match counts.
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
    (
        r"EXPIRED_TOKEN|ExpiredToken|TokenRefreshRequired|RequestExpired|Token.*expired",
        "the credentials have expired; log in again, and give the same command: what is finished is kept",
    ),
    # Answers to HEAD have no words, nor those whose body was lost: AWS says 400 to an expired token as well
    # as to another region.
    (
        r"HTTP status 400.*Head(Object|Bucket)|HTTP status 400.*No response body|HTTP status 400.*operation: *$",
        "the store refused without a reason (HTTP 400): if the credentials have expired, log in again and give the "
        "same command; if the bucket lies in another region, set AWS_REGION to it",
    ),
    (
        r"ACCESS_DENIED|AccessDenied|HTTP status 403|Forbidden",
        "access was denied: if the credentials have expired, log in again, else they need the rights to list, get, put "
        "and delete there; for a public bucket set AWS_NO_SIGN_REQUEST=yes",
    ),
    (
        r"HTTP status 301|PermanentRedirect|AuthorizationHeaderMalformed",
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

    Credentials come from the usual chain (environment, profile, role of the machine), the endpoint from
    ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL``, the region from ``AWS_REGION`` or ``AWS_DEFAULT_REGION``, else from
    the bucket itself. Where there are no credentials, or ``AWS_NO_SIGN_REQUEST`` is set, requests are not signed, as
    public buckets allow.

    Raises
    ------
    OSError
        If the bucket's region cannot be found.
    """
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None and endpoint() is None:
        region = pafs.resolve_s3_region(bucket)
    return pafs.S3FileSystem(
        region=region,
        anonymous=os.environ.get("AWS_NO_SIGN_REQUEST", "").lower() in ("yes", "true", "1", "on"),
        endpoint_override=endpoint(),
        # Not the library's standard strategy: it has a quota of retries per process, after which it makes none, and a
        # large file, sent in pieces, then never gets through to a store that goes on refusing some requests.
        retry_strategy=pafs.AwsDefaultS3RetryStrategy(max_attempts=ATTEMPTS),
        allow_delayed_open=True,  # a small file is one request, not three
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
    )


def retry(call: Callable[[], T]) -> T:
    """Return what a call returns, repeated after :data:`PAUSES` while the store is only busy."""
    for pause in PAUSES:
        try:
            return call()
        except OSError as error:
            if not TRANSIENT.search(str(error)):
                raise
            time.sleep(pause)
    return call()


def endpoint() -> str | None:
    """Return the address of a store other than AWS itself, from the environment."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def explain(message: str, bucket: str) -> str:
    """Return one line about a message of the AWS library that says what to do; it contains no key."""
    for pattern, explanation in EXPLANATIONS:
        if re.search(pattern, message):
            return explanation.format(bucket=bucket, endpoint=endpoint() or "AWS")
    return re.sub(r" ?\(Request ID: [^)]*\)", "", message.splitlines()[0] if message else "unknown error")


class RetryingFile:
    """A file in a bucket of which each piece is retried by itself.

    Reading a table takes a dozen requests: if a fifth of them is refused, a retry of the whole hardly ever succeeds.
    """

    closed = False

    def __init__(self, filesystem: pafs.FileSystem, path: str) -> None:
        self._file = retry(lambda: filesystem.open_input_file(path))
        self._size = retry(self._file.size)
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, or the rest."""
        rest = self._size - self._position
        count = rest if size is None or size < 0 else min(size, rest)
        data = retry(lambda: self._file.read_at(count, self._position))
        self._position += len(data)
        return bytes(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position, relative to the start, the position or the end."""
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self.closed = True
