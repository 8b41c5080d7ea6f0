"""A store in an S3 bucket: AWS, R2, MinIO, Ceph, Source Cooperative and the like, by endpoint.

An object appears complete or not at all. Immutable addresses are put under `If-None-Match` after a check, since not
every server honours that header; bytes that a server did not verify are read back. Uploads belong to `s3_upload`, the
client to `s3_client`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import READ_SIZE, Digests, sha256_of
from d4c_pipeline.model.errors import BusyError, IntegrityError, PermanentError, TransientError, UnknownNameError
from d4c_pipeline.stores.headers import cache_control, content_disposition, content_type
from d4c_pipeline.stores.port import Facts, Stored, checked_address, is_immutable, public_url, quarantine_path
from d4c_pipeline.stores.s3_client import Bucket, verifies_sha256
from d4c_pipeline.stores.s3_copy import COPY_SIZE, copy_object
from d4c_pipeline.stores.s3_errors import (
    REFUSED,
    code_of,
    s3_errors,
    status_of,
)
from d4c_pipeline.stores.s3_objects import Body, Objects, TakenError, was_refused
from d4c_pipeline.stores.s3_upload import PART_SIZE, Sent, Upload, open_uploads, other_file

_SHA256 = "sha256"  # x-amz-meta-sha256
_ONLY_NEW = {"IfNoneMatch": "*"}


class S3Store:
    """The bucket `bucket`, served to readers at `base_url`; the first use makes the first request."""

    def __init__(
        self,
        bucket: Bucket,
        base_url: str,
        name: str = "primary",
        *,
        part_size: int = PART_SIZE,
        copy_size: int = COPY_SIZE,
    ) -> None:
        self.bucket = bucket
        self.base_url = base_url.rstrip("/")
        self._name = name
        self._part_size = part_size
        self._copy_size = copy_size
        self._objects = Objects(bucket, name)
        self._plain_tags = False

    @property
    def name(self) -> str:
        """The store's name in settings and ledger."""
        return self._name

    def url(self, address: str) -> str:
        """Return the public URL of `address`, whether or not something is there."""
        return public_url(self.base_url, address)

    def stat(self, address: str) -> int | None:
        """Return the size in bytes, None when nothing is there."""
        facts = self.facts(address)
        return None if facts is None else facts.size

    def facts(self, address: str) -> Facts | None:
        """Return size and tag, None when nothing is there: one request."""
        head = self._objects.head(address)
        return (
            None if head is None else Facts(head["ContentLength"], head["ETag"], head.get("Metadata", {}).get(_SHA256))
        )

    def local_path(self, address: str) -> Path | None:
        """Return None: nothing lies on this machine."""
        checked_address(address)
        return None

    def open(self, address: str) -> BinaryIO:
        """Open for reading. Raises UnknownNameError when nothing is there."""
        body = self._objects.body(address)
        if body is None:
            raise UnknownNameError(
                f"Store {self.name} holds nothing at {address}", "Publish it again, or correct the address"
            )
        return io.BufferedReader(Body(body, self._objects.action("read", address)), READ_SIZE)

    def read_bytes(self, address: str) -> bytes:
        """Return the content; for small files. Raises UnknownNameError when nothing is there."""
        with self.open(address) as file:
            return file.read()

    def verify(self, address: str, size: int, sha256: str) -> bool:
        """Read everything and say whether exactly these bytes are there; False when nothing is."""
        return self.stat(address) == size and self._objects.read_back(address) == sha256

    def put_immutable(self, source: Path, address: str, digests: Digests) -> Stored:
        """Put a file where nothing is yet; the same bytes again are no work. Parts that an attempt left are kept.

        Raises IntegrityError when other bytes are there, or when `source` no longer has `digests`, StorageError when
        the server refuses, TransientError when it can't be reached.
        """
        upload = self._upload(address, digests.sha256)
        in_parts = digests.size > self._part_size
        if self._holds(address, digests):
            if in_parts:  # a process may have died between its upload and the abort of an earlier one
                self._abort(upload)
            return self._stored(address, digests.size, digests.sha256, changed=False)
        try:
            with s3_errors(self._objects.action("write", address)):
                sent = self._put_new(upload, source, digests) if in_parts else self._put_small(upload, source, digests)
        except (TakenError, PermanentError, TransientError) as error:
            # Somebody else was first, or a request of ours went through whose answer was lost.
            if not was_refused(error) or not self._holds(address, digests):
                raise
            return self._stored(address, digests.size, digests.sha256, changed=False)
        self._see_that(address, sent, digests.sha256, is_new=True)
        return self._stored(address, digests.size, digests.sha256, changed=True)

    def _put_small(self, upload: Upload, source: Path, digests: Digests) -> Sent:
        return upload.in_one(_whole(source, digests), _ONLY_NEW)

    def _put_new(self, upload: Upload, source: Path, digests: Digests) -> Sent:
        def look_again() -> None:
            # Some servers ignore the condition on completion; the lease on the release keeps other writers out.
            if self._holds(upload.address, digests):
                raise TakenError

        try:
            sent = upload.in_parts(source, digests, _ONLY_NEW, resume=True, guard=look_again)
        except TakenError:
            upload.abort()
            raise
        if sent.resumed and not _is(self._objects.head(upload.address), digests):
            # Begun for other bytes that started with the same parts: its metadata names their sha256.
            self.delete(upload.address)
            return upload.in_parts(source, digests, _ONLY_NEW, resume=False, guard=look_again)
        return sent

    def replace(self, source: Path | bytes, address: str, *, guard: Callable[[], object] | None = None) -> Stored:
        """Put a file or bytes at a mutable address in one step: a reader gets the old or the new, never a mixture.

        The same bytes again are no work, so readers' caches stay valid. What is there is looked at, then `guard` is
        called, which may raise, then it is replaced if it is still the same. Raises PermanentError for an immutable
        address, BusyError when another writer was there in between.
        """
        if is_immutable(address):
            raise PermanentError(f"{address} is immutable", "Publish a new version instead of replacing this one")
        digests = _digests(source)
        head = self._objects.head(address)
        if _is(head, digests):
            return self._stored(address, digests.size, digests.sha256, changed=False)
        condition = {"IfNoneMatch": "*"} if head is None else {"IfMatch": head["ETag"]}
        upload = self._upload(address, digests.sha256)
        try:
            sent = self._sent(upload, source, digests, condition, guard)
        except PermanentError as error:
            if not was_refused(error):
                raise
            there = self._objects.head(address)
            if _is(there, digests):
                return self._stored(address, digests.size, digests.sha256, changed=True)
            if head is None or there is None or there["ETag"] != head["ETag"] or "VersionId" not in there:
                raise BusyError(
                    f"Another process put something at {address} in store {self.name} meanwhile", "Run again"
                ) from error
            # Refused although nothing changed: radosgw holds the condition against the version that is being written,
            # of which there is nothing yet. The bucket keeps the version before, and the caller's lease other writers.
            sent = self._sent(upload, source, digests, {}, guard)
        self._see_that(address, sent, digests.sha256, is_new=False)
        return self._stored(address, digests.size, digests.sha256, changed=True)

    def _sent(
        self,
        upload: Upload,
        source: Path | bytes,
        digests: Digests,
        condition: dict[str, str],
        guard: Callable[[], object] | None,
    ) -> Sent:
        """Put a file or bytes under a condition on what is there; `guard` is called right before."""
        with s3_errors(self._objects.action("write", upload.address)):
            if isinstance(source, bytes) or digests.size <= self._part_size:
                body = source if isinstance(source, bytes) else _whole(source, digests)
                _call(guard)
                return self._switched(upload, body, condition)
            return upload.in_parts(source, digests, condition, resume=False, guard=lambda: _call(guard))

    def _switched(self, upload: Upload, body: bytes, condition: dict[str, str]) -> Sent:
        """Put `body` if what is there is still what was seen."""
        seen = condition.get("IfMatch")
        if seen is None or self._plain_tags:
            return upload.in_one(body, {name: tag.strip('"') for name, tag in condition.items()})
        try:
            return upload.in_one(body, condition)
        except ClientError as error:
            head = self._objects.head(upload.address)
            if code_of(error) not in REFUSED or head is None or head["ETag"] != seen:
                raise
            # Refused although nothing changed: Ceph's radosgw compares with the tag's quotes, which it does not keep.
            self._plain_tags = True
        return self._switched(upload, body, condition)

    def move(self, source: str, target: str, digests: Digests) -> bool:
        """Move an object to an immutable address: a copy by the server, which is verified, and then a deletion.

        Returns False when `source` does not hold these bytes. The copy is believed by its tag where that is the md5 of
        all bytes (it is unless the server encrypts with keys of its own, or the object is above 5 GiB), and read back
        otherwise. Raises IntegrityError when `target` has other bytes, or the copy is damaged (it is taken away again).
        """
        if not self._holds(target, digests):
            head = self._objects.head(source)
            if not _is(head, digests) or head is None:
                return False
            try:
                with s3_errors(self._objects.action(f"move to {target} what lies at", source)):
                    copy_object(self._upload(target, digests.sha256), self._objects.key(source), head, self._copy_size)
            except PermanentError as error:
                # Somebody else was first, or a request of ours went through whose answer was lost.
                if not was_refused(error) or not self._holds(target, digests):
                    raise
            self._see_copy(target, digests)
        if digests.size > self._copy_size:  # one that an attempt began in parts and did not complete
            self._abort(self._upload(target, ""))
        self.delete(source)
        return True

    def _see_copy(self, target: str, digests: Digests) -> None:
        head = self._objects.head(target)
        if head is not None and head["ContentLength"] == digests.size and head["ETag"].strip('"') == digests.md5:
            return
        if self._objects.read_back(target) != digests.sha256:
            self.delete(target)
            raise IntegrityError(
                f"Store {self.name} copied other bytes to {target} than it was given",
                "Look at that server before anything else is written there",
            )

    def is_exposed(self, address: str) -> bool:
        """Return whether the server lists `address`, and serves its bytes, without a key."""
        client, key = self.bucket.client(anonymous=True), self._objects.key(address)
        with s3_errors(f"see who may list store {self.name}"):
            try:
                listed = client.list_objects_v2(Bucket=self.bucket.name, Prefix=key).get("Contents", ())
                if not any(one["Key"] == key for one in listed):
                    return False
                client.get_object(Bucket=self.bucket.name, Key=key, Range="bytes=0-0")["Body"].close()
            except ClientError as error:
                if status_of(error) >= 500:
                    raise
                return False
        return True

    def delete(self, address: str) -> None:
        """Remove what is there, if anything, and the parts of uploads that were never completed."""
        with s3_errors(self._objects.action("delete", address)):
            self._client.delete_object(Bucket=self.bucket.name, Key=self._objects.key(address))
            self._upload(address, "").abort()

    def quarantine(self, address: str, tag: str) -> str | None:
        """Move what is there aside, below a prefix that the bucket's policy has to keep private; None when nothing is.

        A copy by the server and then a deletion: what dies in between leaves both, and the next call goes on.
        """
        head = self._objects.head(address)
        if head is None:
            return None
        aside = quarantine_path(address, tag)
        with s3_errors(self._objects.action("move aside", address)):
            source = {"Bucket": self.bucket.name, "Key": self._objects.key(address)}
            # Only the very object that was found damaged: whoever replaced it meanwhile is not undone.
            extra = {"CopySourceIfMatch": head["ETag"]}
            self._client.copy(source, self.bucket.name, self.bucket.key(aside), ExtraArgs=extra)
            self._client.delete_object(Bucket=self.bucket.name, Key=self._objects.key(address))
        return aside

    def open_uploads(self) -> int:
        """Return how many uploads below the prefix were begun and neither completed nor given up."""
        prefix = f"{self.bucket.prefix}/" if self.bucket.prefix else ""
        with s3_errors(f"list the uploads in store {self.name}"):
            return sum(1 for _ in open_uploads(self._client, self.bucket, prefix))

    @cached_property
    def _client(self) -> Any:
        return self._objects.client

    @cached_property
    def _verified(self) -> bool:
        with s3_errors(f"write to store {self.name}"):
            return verifies_sha256(self._client, self.bucket)

    def _upload(self, address: str, sha256: str) -> Upload:
        checked_address(address)
        headers = {
            "ContentType": content_type(address),
            "CacheControl": cache_control(address),
            "ContentDisposition": content_disposition(address),
            "Metadata": {_SHA256: sha256},
        }
        return Upload(self._client, self.bucket, address, headers, self._verified if sha256 else False, self._part_size)

    def _abort(self, upload: Upload) -> None:
        with s3_errors(self._objects.action("give up an upload of", upload.address)):
            upload.abort()

    def _holds(self, address: str, digests: Digests) -> bool:
        """Whether these bytes are there already; raises IntegrityError when others are."""
        size = self.stat(address)
        if size is None:
            return False
        if size == digests.size and self._objects.read_back(address) == digests.sha256:
            return True
        raise IntegrityError(
            f"Store {self.name} holds other bytes at the immutable address {address} than sha256 {digests.sha256}",
            "Find out which are right; restore the file from another copy, or publish a new version",
        )

    def _see_that(self, address: str, sent: Sent, sha256: str, *, is_new: bool) -> None:
        """See that what the server has is what it was sent; raises IntegrityError when it is not.

        `is_new`: nothing was there before, so that what is damaged is taken away again.
        """
        if sent.checksum is not None:
            return
        # Not every server says the tag of what it completed.
        found = self._objects.read_back(address, sent.etag or None)
        if found == sha256 or (found is None and not is_new):  # another writer's by now
            return
        if is_new:
            self.delete(address)
        raise IntegrityError(
            f"Store {self.name} reads back other bytes than were written at {address}",
            "Look at that server and the way to it before anything else is written there",
        )

    def _stored(self, address: str, size: int, sha256: str, *, changed: bool) -> Stored:
        return Stored(address, self.url(address), size, sha256, changed)


def _is(head: Mapping[str, Any] | None, digests: Digests) -> bool:
    """Whether an object is said to be of these bytes: of a mutable one, whoever wrote it said so with the bytes."""
    return (
        head is not None and head["ContentLength"] == digests.size and head["Metadata"].get(_SHA256) == digests.sha256
    )


def _digests(source: Path | bytes) -> Digests:
    if isinstance(source, bytes):
        return Digests(len(source), "", hashlib.sha256(source).hexdigest())
    with storage_errors(f"read {source.name}"):
        return Digests(source.stat().st_size, "", sha256_of(source))


def _whole(source: Path, digests: Digests) -> bytes:
    """The bytes of a small file. Raises IntegrityError when they don't have `digests`."""
    with storage_errors(f"read {source.name}"):
        body = source.read_bytes()
    sha256 = hashlib.sha256(body).hexdigest()
    if (len(body), sha256) != (digests.size, digests.sha256):
        raise other_file(source, len(body), sha256, digests)
    return body


def _call(guard: Callable[[], object] | None) -> None:
    if guard is not None:
        guard()
