"""A store in an S3 bucket: AWS, R2, MinIO, Ceph, Source Cooperative and others, by endpoint.

An object appears complete or not at all. Objects at immutable addresses are put with `If-None-Match` after a check,
since not every server honours that header. Bytes that a server did not verify are read back, except small contents
whose md5 it states as their tag. Uploads belong to `s3_upload`, the client to `s3_client`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from d4c_pipeline.stores.s3_copy import COPY_SIZE, copy_object, copy_over
from d4c_pipeline.stores.s3_errors import (
    REFUSED,
    code_of,
    s3_errors,
    status_of,
)
from d4c_pipeline.stores.s3_many import ONLY_NEW, put_together
from d4c_pipeline.stores.s3_objects import Body, Objects, TakenError, was_refused
from d4c_pipeline.stores.s3_upload import PART_SIZE, Sent, Upload, open_uploads, other_file

_SHA256 = "sha256"  # x-amz-meta-sha256
_DELETED = 1_000  # objects in a request: the protocol's limit


class S3Store:
    """The bucket `bucket`, served to readers at `base_url`. The first use sends the first request."""

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
        self._tags_understood = self._tags_never_hold = False

    @property
    def name(self) -> str:
        """The store's name in settings and ledger."""
        return self._name

    def url(self, address: str) -> str:
        """Return the public URL of `address`, whether or not an object is there."""
        return public_url(self.base_url, address)

    def stat(self, address: str) -> int | None:
        """Return the size in bytes, None if no object is there."""
        facts = self.facts(address)
        return None if facts is None else facts.size

    def facts(self, address: str) -> Facts | None:
        """Return size and tag, None if no object is there; one request."""
        head = self._objects.head(address)
        return (
            None if head is None else Facts(head["ContentLength"], head["ETag"], head.get("Metadata", {}).get(_SHA256))
        )

    def addresses(self, prefix: str) -> Iterator[str]:
        """Yield the address of every object below `prefix`, 1,000 a request."""
        for address, _ in self.sizes(prefix):
            yield address

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the address and the size of every object below `prefix`, 1,000 a request."""
        yield from self._objects.below(prefix)

    def local_path(self, address: str) -> Path | None:
        """Return None: objects are not on this machine."""
        checked_address(address)
        return None

    def open(self, address: str) -> BinaryIO:
        """Open for reading. Raises UnknownNameError if no object is there."""
        body = self._objects.body(address)
        if body is None:
            raise UnknownNameError(
                f"Store {self.name} has no file at {address}", "Publish it again, or correct the address"
            )
        return io.BufferedReader(Body(body, self._objects.action("read", address)), READ_SIZE)

    def read_bytes(self, address: str) -> bytes:
        """Return the content of a small object. Raises UnknownNameError if no object is there."""
        with self.open(address) as file:
            return file.read()

    def verify(self, address: str, size: int, sha256: str) -> bool:
        """Read the object and return whether it has exactly these bytes; False if no object is there."""
        return self.stat(address) == size and self._objects.read_back(address) == sha256

    def put_immutable(self, source: Path, address: str, digests: Digests, *, frozen: bool = False) -> Stored:
        """Put a file at an unused address. Equal bytes at the address, and parts of an earlier attempt, are kept.

        Raises IntegrityError if other bytes are there, or if `source` no longer has `digests`, StorageError if the
        server refuses, TransientError if it can't be reached.
        """
        upload = self._upload(address, digests.sha256)
        in_parts = digests.size > self._part_size
        if self._holds(address, digests):
            if in_parts:  # a process may have died between its upload and the abort of an earlier upload
                self._abort(upload)
            return self._stored(address, digests.size, digests.sha256, changed=False)
        try:
            with s3_errors(self._objects.action("write", address)):
                sent = self._put_new(upload, source, digests) if in_parts else self._put_small(upload, source, digests)
        except (TakenError, PermanentError, TransientError) as error:
            # Another process was first, or the response to a successful request was lost.
            if not was_refused(error) or not self._holds(address, digests):
                raise
            return self._stored(address, digests.size, digests.sha256, changed=False)
        self._see_that(address, sent, digests.sha256, is_new=True)
        return self._stored(address, digests.size, digests.sha256, changed=True)

    def _put_small(self, upload: Upload, source: Path, digests: Digests) -> Sent:
        return upload.in_one(_whole(source, digests), ONLY_NEW)

    def _put_new(self, upload: Upload, source: Path, digests: Digests) -> Sent:
        def require_free() -> None:
            # Some servers ignore the condition on completion; the lease on the release excludes other writers.
            if self._holds(upload.address, digests):
                raise TakenError

        try:
            sent = upload.in_parts(source, digests, ONLY_NEW, resume=True, guard=require_free)
        except TakenError:
            upload.abort()
            raise
        if sent.resumed and not _is(self._objects.head(upload.address), digests):
            # Started for other bytes with the same first parts: its metadata states their sha256.
            self.delete(upload.address)
            return upload.in_parts(source, digests, ONLY_NEW, resume=False, guard=require_free)
        return sent

    def replace(self, source: Path | bytes, address: str, *, guard: Callable[[], object] | None = None) -> Stored:
        """Put a file or bytes at a mutable address in one step: a reader gets the old or the new, never a mixture.

        Equal bytes are kept, so readers' caches stay valid. The object's tag is read, then `guard` is called, which may
        raise, then the object is replaced if it still has that tag. Raises PermanentError for an immutable address,
        BusyError if another writer changed the object in between.
        """
        _refuse_immutable(address)
        digests = _digests(source)
        head = self._objects.head(address)
        if head is not None and _is(head, digests):
            return Stored(address, self.url(address), digests.size, digests.sha256, changed=False, etag=head["ETag"])
        condition = ONLY_NEW if head is None else {"IfMatch": head["ETag"]}
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
                    f"Another process wrote {address} in store {self.name} meanwhile", "Run again"
                ) from error
            # Refused although nothing changed: radosgw tests the condition against the version that is being written,
            # which has no tag yet. The bucket keeps the previous version, and the caller's lease excludes writers.
            self._tags_never_hold = True
            sent = self._sent(upload, source, digests, {}, guard)
        self._see_that(address, sent, digests.sha256, is_new=False)
        # Not every server states the tag of a completed upload.
        etag = sent.etag or None
        return Stored(address, self.url(address), digests.size, digests.sha256, changed=True, etag=etag)

    def share(self, source: str | Path, address: str, digests: Digests) -> Stored | None:
        """Give the mutable `address` the bytes of the immutable address `source` by a copy of the server.

        None for a file on this machine, for digests without an md5, for a source that is missing or above 5 GiB, and if
        the server does not copy. The copy is verified by its tag if that is the md5, else it is read back; a damaged
        copy is deleted, so that `replace` does not take it for the file. Raises PermanentError for an immutable
        address.
        """
        _refuse_immutable(address)
        if isinstance(source, Path) or not digests.md5 or digests.size > self._copy_size:
            return None
        with s3_errors(self._objects.action(f"copy {source} to", address)):
            etag = copy_over(self._upload(address, digests.sha256), self._objects.key(source))
        if etag is None:
            return None
        if etag.strip('"') != digests.md5 and self._objects.read_back(address) != digests.sha256:
            self.delete(address)
            return None
        return Stored(address, self.url(address), digests.size, digests.sha256, changed=True, etag=etag)

    def replace_many(
        self, contents: Mapping[str, bytes], known: Mapping[str, str | None] | None = None
    ) -> Mapping[str, str | None]:
        """Put small contents at mutable addresses, several at a time, and return their tags; one request each.

        A content is put under the condition that its address has the tag of `known`, or that it is unused. Where the
        condition does not hold, and where no tag is known, `replace` looks first. A content is not read back if the
        server states its md5 as the tag.
        """
        for address in contents:
            _refuse_immutable(address)
        if not contents:
            return {}
        _ = self._verified  # one trial of the server, before several threads need its outcome
        tags = put_together(
            contents, known, put_under=self._put_under, replace=self.replace, one_first=not self._tags_understood
        )
        self._tags_understood |= any(known is not None and known.get(address) for address in contents)
        return tags

    def _put_under(self, content: bytes, address: str, condition: dict[str, str]) -> Stored | None:
        """Put a small content without a look at the address; None if the condition does not hold there."""
        if self._tags_never_hold and condition is not ONLY_NEW:
            return None
        digests = _digests(content)
        try:
            sent = self._sent(self._upload(address, digests.sha256), content, digests, condition, None)
        except PermanentError as error:
            if not was_refused(error):
                raise
            return None
        if not sent.hashed:
            self._see_that(address, sent, digests.sha256, is_new=False)
        return Stored(address, self.url(address), digests.size, digests.sha256, changed=True, etag=sent.etag)

    def _sent(
        self,
        upload: Upload,
        source: Path | bytes,
        digests: Digests,
        condition: dict[str, str],
        guard: Callable[[], object] | None,
    ) -> Sent:
        """Put a file or bytes under a condition on the current object. `guard` is called right before."""
        with s3_errors(self._objects.action("write", upload.address)):
            if isinstance(source, bytes) or digests.size <= self._part_size:
                body = source if isinstance(source, bytes) else _whole(source, digests)
                _call(guard)
                return self._switched(upload, body, condition)
            return upload.in_parts(source, digests, condition, resume=False, guard=lambda: _call(guard))

    def _switched(self, upload: Upload, body: bytes, condition: dict[str, str]) -> Sent:
        """Put `body` if the object still has the tag of `condition`."""
        seen = condition.get("IfMatch")
        if seen is None or self._plain_tags:
            return upload.in_one(body, {name: tag.strip('"') for name, tag in condition.items()})
        try:
            return upload.in_one(body, condition)
        except ClientError as error:
            head = self._objects.head(upload.address)
            if code_of(error) not in REFUSED or head is None or head["ETag"] != seen:
                raise
            # Refused although nothing changed: Ceph's radosgw compares the quoted tag with its unquoted one.
            self._plain_tags = True
        return self._switched(upload, body, condition)

    def move(self, source: str, target: str, digests: Digests) -> bool:
        """Move an object to an immutable address: a verified copy by the server, then a deletion.

        Returns False if `source` does not hold these bytes. The copy is verified by its tag if that is the md5 of all
        bytes (not if the server encrypts with its own keys, or above 5 GiB), else it is read back. Raises
        IntegrityError if `target` has other bytes, or if the copy is damaged, which is then deleted.
        """
        if not self._holds(target, digests):
            head = self._objects.head(source)
            if not _is(head, digests) or head is None:
                return False
            try:
                with s3_errors(self._objects.action(f"move to {target} what lies at", source)):
                    copy_object(self._upload(target, digests.sha256), self._objects.key(source), head, self._copy_size)
            except PermanentError as error:
                # Another process was first, or the response to a successful request was lost.
                if not was_refused(error) or not self._holds(target, digests):
                    raise
            self._see_copy(target, digests)
        if digests.size > self._copy_size:  # an earlier attempt may have left an incomplete upload
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
                f"Store {self.name} copied other bytes to {target} than it had",
                "Check that server before the next write",
            )

    def is_exposed(self, address: str) -> bool:
        """Return whether the server lists `address`, and serves its bytes, without a key."""
        client, key = self.bucket.client(anonymous=True), self._objects.key(address)
        with s3_errors(f"see who may list store {self.name}"):
            try:
                listed = client.list_objects_v2(Bucket=self.bucket.name, Prefix=key).get("Contents", ())
                if not any(entry["Key"] == key for entry in listed):
                    return False
                client.get_object(Bucket=self.bucket.name, Key=key, Range="bytes=0-0")["Body"].close()
            except ClientError as error:
                if status_of(error) >= 500:
                    raise
                return False
        return True

    def delete(self, *addresses: str) -> None:
        """Delete the objects, those that exist, many in one request, and the parts of incomplete uploads."""
        for start in range(0, len(addresses), _DELETED):
            some = addresses[start : start + _DELETED]
            keys = [{"Key": self._objects.key(address)} for address in some]
            with s3_errors(self._objects.action("delete", some[0])):
                if len(keys) == 1:
                    self._client.delete_object(Bucket=self.bucket.name, **keys[0])
                else:
                    self._delete_together(keys)
                self._abort_open({each["Key"]: address for each, address in zip(keys, some, strict=True)})

    def _abort_open(self, addresses: Mapping[str, str]) -> None:
        """Abort the incomplete uploads at addresses, given by their keys, after one request for all."""
        if len(addresses) == 1:
            (address,) = addresses.values()
            self._upload(address, "").abort()
            return
        found = {upload["Key"] for upload in open_uploads(self._client, self.bucket, self._below)}
        for key in found & addresses.keys():
            self._upload(addresses[key], "").abort()

    @property
    def _below(self) -> str:
        return f"{self.bucket.prefix}/" if self.bucket.prefix else ""

    def _delete_together(self, keys: Sequence[Mapping[str, str]]) -> None:
        answer = self._client.delete_objects(Bucket=self.bucket.name, Delete={"Objects": list(keys), "Quiet": True})
        for refused in answer.get("Errors", ()):
            # A request of its own tells the cause as an error.
            self._client.delete_object(Bucket=self.bucket.name, Key=refused["Key"])

    def quarantine(self, address: str, tag: str) -> str | None:
        """Move the object to the quarantine, a prefix that the bucket's policy must keep private; None without object.

        A copy by the server, then a deletion: a crash in between leaves both, and the next call resumes.
        """
        head = self._objects.head(address)
        if head is None:
            return None
        aside = quarantine_path(address, tag)
        with s3_errors(self._objects.action("move aside", address)):
            source = {"Bucket": self.bucket.name, "Key": self._objects.key(address)}
            # Only the object that was found damaged: a replacement in the meantime stays.
            extra = {"CopySourceIfMatch": head["ETag"]}
            self._client.copy(source, self.bucket.name, self.bucket.key(aside), ExtraArgs=extra)
            self._client.delete_object(Bucket=self.bucket.name, Key=self._objects.key(address))
        return aside

    def open_uploads(self) -> int:
        """Return the number of open uploads below the prefix: started, neither completed nor aborted."""
        with s3_errors(f"list the uploads in store {self.name}"):
            return sum(1 for _ in open_uploads(self._client, self.bucket, self._below))

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
        with s3_errors(self._objects.action("abort an upload of", upload.address)):
            upload.abort()

    def _holds(self, address: str, digests: Digests) -> bool:
        """Return whether these bytes are there already. Raises IntegrityError if other bytes are there."""
        size = self.stat(address)
        if size is None:
            return False
        if size == digests.size and self._objects.read_back(address) == digests.sha256:
            return True
        raise IntegrityError(
            f"Store {self.name} holds other bytes at the immutable address {address} than sha256 {digests.sha256}",
            "Find the correct bytes; restore the file from another copy, or publish a new version",
        )

    def _see_that(self, address: str, sent: Sent, sha256: str, *, is_new: bool) -> None:
        """Verify that the server has the bytes that were sent. Raises IntegrityError if not.

        `is_new`: no object was there before, so a damaged object is deleted.
        """
        if sent.checksum is not None:
            return
        # Not every server states the tag of a completed upload.
        found = self._objects.read_back(address, sent.etag or None)
        if found == sha256 or (found is None and not is_new):  # None: replaced by another writer
            return
        if is_new:
            self.delete(address)
        raise IntegrityError(
            f"Store {self.name} returns other bytes than were written at {address}",
            "Check that server and the network to it before the next write",
        )

    def _stored(self, address: str, size: int, sha256: str, *, changed: bool) -> Stored:
        return Stored(address, self.url(address), size, sha256, changed)


def _refuse_immutable(address: str) -> None:
    if is_immutable(address):
        raise PermanentError(f"{address} is immutable", "Publish a new version instead of replacing this one")


def _is(head: Mapping[str, Any] | None, digests: Digests) -> bool:
    """Return whether the metadata of an object state these bytes. Its writer stated them with the bytes."""
    return (
        head is not None and head["ContentLength"] == digests.size and head["Metadata"].get(_SHA256) == digests.sha256
    )


def _digests(source: Path | bytes) -> Digests:
    if isinstance(source, bytes):
        return Digests(len(source), "", hashlib.sha256(source).hexdigest())
    with storage_errors(f"read {source.name}"):
        return Digests(source.stat().st_size, "", sha256_of(source))


def _whole(source: Path, digests: Digests) -> bytes:
    """Return the bytes of a small file. Raises IntegrityError if they don't have `digests`."""
    with storage_errors(f"read {source.name}"):
        body = source.read_bytes()
    sha256 = hashlib.sha256(body).hexdigest()
    if (len(body), sha256) != (digests.size, digests.sha256):
        raise other_file(source, len(body), sha256, digests)
    return body


def _call(guard: Callable[[], object] | None) -> None:
    if guard is not None:
        guard()
