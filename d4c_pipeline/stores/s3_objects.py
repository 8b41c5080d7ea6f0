"""Reading the objects of a bucket: headers, bodies, checksums, and the errors that mean a missing object.

Writing, moving and deleting objects belongs to `s3.py` and `s3_upload.py`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from d4c_pipeline.files.hashing import READ_SIZE
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.stores.port import checked_address
from d4c_pipeline.stores.s3_client import Bucket
from d4c_pipeline.stores.s3_errors import NOT_THERE, REFUSED, code_of, explain, no_bucket, s3_errors, spelled_out

PAGE = 1_000
"""Objects of a listing in one answer, S3's most."""


class Objects:
    """The objects of `bucket`; `store` is the name of the store in errors."""

    def __init__(self, bucket: Bucket, store: str) -> None:
        self._bucket, self._store = bucket, store
        self._bucket_seen = False

    @cached_property
    def client(self) -> Any:
        """The client of the bucket, made on first use."""
        return self._bucket.client()

    def key(self, address: str) -> str:
        """Return the key of `address` in the bucket. Raises PermanentError for an address that a store can't hold."""
        return self._bucket.key(checked_address(address))

    def action(self, verb: str, address: str) -> str:
        """Return the description of an action on `address` for error messages."""
        return f"{verb} {address} in store {self._store}"

    def head(self, address: str) -> dict[str, Any] | None:
        """Return the headers of an object, None without an object; one request."""
        key = self.key(address)
        with s3_errors(self.action("read", address)):
            try:
                head = self.client.head_object(Bucket=self._bucket.name, Key=key)
            except ClientError as error:
                if code_of(error) not in NOT_THERE:
                    raise spelled_out(error, lambda: self._first_byte(key)) from error
            else:
                self._bucket_seen = True
                return head
        self._see_bucket()
        return None

    def _first_byte(self, key: str) -> None:
        self.client.get_object(Bucket=self._bucket.name, Key=key, Range="bytes=0-0")["Body"].close()

    def body(self, address: str, etag: str | None = None) -> Any | None:
        """Return the open body of an object, None without an object; with `etag` only if it still has that tag."""
        key = self.key(address)
        condition = {} if etag is None else {"IfMatch": etag}
        with s3_errors(self.action("read", address)):
            try:
                return self.client.get_object(Bucket=self._bucket.name, Key=key, **condition)["Body"]
            except ClientError as error:
                if code_of(error) not in NOT_THERE:
                    raise
        return None

    def read_back(self, address: str, etag: str | None = None) -> str | None:
        """Return the sha256 of an object, None without an object (or, with `etag`, if another object is there)."""
        try:
            body = self.body(address, etag)
        except PermanentError as error:
            if not was_refused(error):
                raise
            return None
        if body is None:
            return None
        sha256 = hashlib.sha256()
        with s3_errors(self.action("read", address)), body:
            for block in body.iter_chunks(READ_SIZE):
                sha256.update(block)
        return sha256.hexdigest()

    def below(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the address and the size of every object whose address begins with `prefix`."""
        first, start = self._bucket.key(""), ""
        while True:
            with s3_errors(self.action("list", prefix)):
                page = self.client.list_objects_v2(
                    Bucket=self._bucket.name, Prefix=first + prefix, StartAfter=start, MaxKeys=PAGE
                )
            for entry in page.get("Contents", ()):
                start = str(entry["Key"])
                yield start.removeprefix(first), int(entry["Size"])
            if not page.get("IsTruncated"):
                return

    def _see_bucket(self) -> None:
        """Raise StorageError if the bucket does not exist: a missing bucket answers like an empty one."""
        if self._bucket_seen:
            return
        action = f"reach the bucket {self._bucket.name} of store {self._store}"
        with s3_errors(action):
            try:
                self.client.head_bucket(Bucket=self._bucket.name)
            except ClientError as error:
                if code_of(error) not in NOT_THERE:
                    raise spelled_out(
                        error, lambda: self.client.list_objects_v2(Bucket=self._bucket.name, MaxKeys=1)
                    ) from error
                raise no_bucket(action) from error
        self._bucket_seen = True


class TakenError(Exception):
    """Another writer put the same bytes at the address; never leaves the S3 store."""


class Body(io.RawIOBase):
    """The body of a response as a stream whose errors are of our tree."""

    def __init__(self, body: Any, action: str) -> None:
        super().__init__()
        self._body, self._action = body, action

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read into `buffer` and return the number of bytes."""
        view = memoryview(buffer)
        try:
            block = self._body.read(len(view))
        except BotoCoreError as error:
            raise explain(error, self._action) from error
        view[: len(block)] = block
        return len(block)

    def close(self) -> None:
        """Release the connection."""
        if not self.closed:
            self._body.close()
        super().close()


def was_refused(error: BaseException) -> bool:
    """Return whether a condition failed, or an earlier request of ours already completed the upload."""
    if isinstance(error, TakenError):
        return True
    cause = error.__cause__
    return isinstance(cause, ClientError) and code_of(cause) in {*REFUSED, *NOT_THERE, "NoSuchUpload"}
