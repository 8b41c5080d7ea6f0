"""Uploads of one object: in one request, or in parallel parts that are resumed after a crash.

Every request carries the md5 of its body, which servers verify, and its sha256 if the server verifies that. The checks
before and after an upload belong to `s3.py`.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import Digests
from d4c_pipeline.model.errors import D4CError, IntegrityError
from d4c_pipeline.stores.s3_client import PARALLEL, Bucket, base64_md5, base64_sha256
from d4c_pipeline.stores.s3_errors import NO_PARTS, UNKNOWN_THERE, code_of

PART_SIZE = 16 << 20
"""The bytes of a part, and of the largest object that is sent in one request."""
_MOST_PARTS = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_MIB = 1 << 20


@dataclass(frozen=True)
class Sent:
    """An accepted object: its tag, and the sha256 that the server verified, or None.

    `resumed`: an earlier attempt started the upload and set its metadata. `hashed`: the tag is the md5 of the sent
    bytes, so the server received them intact.
    """

    etag: str
    checksum: str | None
    resumed: bool = False
    hashed: bool = False


@dataclass(frozen=True)
class Upload:
    """The upload of one object: its address, its headers, and whether the server verifies sha256."""

    client: Any
    bucket: Bucket
    address: str
    headers: Mapping[str, Any]
    verified: bool
    part_size: int = PART_SIZE

    @property
    def _at(self) -> dict[str, str]:
        return {"Bucket": self.bucket.name, "Key": self.bucket.key(self.address)}

    def in_one(self, body: bytes, condition: Mapping[str, str]) -> Sent:
        """Put `body` in one request, under a `condition` (`IfNoneMatch` or `IfMatch`) if the server supports it.

        Raises botocore's errors: 412 if the condition does not hold.
        """

        def put(**condition: str) -> dict[str, Any]:
            checksum = {"ChecksumSHA256": base64_sha256(body)} if self.verified else {}
            return self.client.put_object(
                **self._at, Body=body, ContentMD5=base64_md5(body), **self.headers, **checksum, **condition
            )

        answer = _if_known(put, condition)
        etag = answer["ETag"]
        return Sent(etag, base64_sha256(body) if self.verified else None, hashed=etag.strip('"') == _md5(body))

    def in_parts(
        self,
        source: Path,
        digests: Digests,
        condition: Mapping[str, str],
        *,
        resume: bool,
        guard: Callable[[], object],
    ) -> Sent:
        """Put the file at `source` in parts. The object appears with the last request; `guard` is called right before.

        With `resume`, equal parts of an earlier attempt are kept. After a failure, sent parts stay for the next
        attempt. A server without support for parts gets the file in one request (S3 accepts 5 GiB). Raises
        IntegrityError if the file no longer has `digests`, botocore's errors, and the errors of `guard`.
        """
        found = self._resumed(source, digests) if resume else None
        if found is None:
            self.abort()
            try:
                number = self._begun()
            except ClientError as error:
                if code_of(error) not in NO_PARTS:
                    raise
                guard()
                return self._as_a_whole(source, digests, condition)
            parts = self._sent(source, digests, number, {})
        else:
            number, parts = found
        try:
            guard()
        except D4CError:
            self.abort()
            raise

        def complete(**condition: str) -> dict[str, Any]:
            return self.client.complete_multipart_upload(
                **self._at, UploadId=number, MultipartUpload={"Parts": parts}, **condition
            )

        answer = _if_known(complete, condition)
        composite = _composite(parts) if self.verified else None
        verified = composite if answer.get("ChecksumSHA256") == composite else None
        return Sent(quoted(answer.get("ETag", "")), verified, resumed=found is not None)

    def _as_a_whole(self, source: Path, digests: Digests, condition: Mapping[str, str]) -> Sent:
        sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        with _opened(source) as file:
            for block in _blocks(file, source, self.part_size):
                sha256.update(block)
                md5.update(block)
                size += len(block)
            if (size, sha256.hexdigest()) != (digests.size, digests.sha256):
                raise other_file(source, size, sha256.hexdigest(), digests)
            checksum = base64.b64encode(sha256.digest()).decode()

            def put(**condition: str) -> dict[str, Any]:
                file.seek(0)
                return self.client.put_object(
                    **self._at,
                    Body=file,
                    ContentLength=size,
                    ContentMD5=base64.b64encode(md5.digest()).decode(),
                    **self.headers,
                    **({"ChecksumSHA256": checksum} if self.verified else {}),
                    **condition,
                )

            answer = _if_known(put, condition)
        return Sent(answer["ETag"], checksum if self.verified else None)

    def abort(self) -> None:
        """Abort every incomplete upload at this address."""
        for number in self._open():
            try:
                self.client.abort_multipart_upload(**self._at, UploadId=number)
            except ClientError as error:
                if code_of(error) not in ("NoSuchUpload", "404"):
                    raise

    def _open(self) -> list[str]:
        return [upload["UploadId"] for upload in open_uploads(self.client, self.bucket, self.bucket.key(self.address))]

    def _resumed(self, source: Path, digests: Digests) -> tuple[str, list[dict[str, Any]]] | None:
        """Resume the open upload; None unless exactly one is open, for this file."""
        numbers = self._open()
        if len(numbers) != 1:
            return None
        pages = self.client.get_paginator("list_parts").paginate(**self._at, UploadId=numbers[0])
        there = {part["PartNumber"]: part for page in pages for part in page.get("Parts", ())}
        # An empty upload saves nothing, and an upload with more parts than this file belongs to another file.
        if not there or max(there) > -(-digests.size // self._size_for(digests.size)):
            return None
        try:
            return numbers[0], self._sent(source, digests, numbers[0], there)
        except _OtherBytesError:
            return None  # parts of an earlier build under the same name

    def _begun(self) -> str:
        algorithm = {"ChecksumAlgorithm": "SHA256"} if self.verified else {}
        return self.client.create_multipart_upload(**self._at, **self.headers, **algorithm)["UploadId"]

    def _sent(
        self, source: Path, digests: Digests, number: str, there: Mapping[int, Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Send the missing parts, and return all parts. The file is read and hashed once.

        Raises _OtherBytesError if a part in `there` is not of this file.
        """
        sha256 = hashlib.sha256()
        size = 0
        parts: list[dict[str, Any]] = []
        on_their_way: deque[Future[dict[str, Any]]] = deque()
        with _opened(source) as file, ThreadPoolExecutor(PARALLEL, thread_name_prefix="s3-part") as pool:
            for index, block in enumerate(_blocks(file, source, self._size_for(digests.size)), 1):
                sha256.update(block)
                size += len(block)
                if index in there:
                    parts.append(self._kept(index, block, there[index]))
                    continue
                if len(on_their_way) >= PARALLEL:
                    parts.append(on_their_way.popleft().result())
                on_their_way.append(pool.submit(self._send_part, number, index, block))
            parts.extend(future.result() for future in on_their_way)
        if (size, sha256.hexdigest()) != (digests.size, digests.sha256):
            self.abort()
            raise other_file(source, size, sha256.hexdigest(), digests)
        return sorted(parts, key=lambda part: part["PartNumber"])

    def _kept(self, index: int, block: bytes, part: Mapping[str, Any]) -> dict[str, Any]:
        """Return the description of an uploaded part. Raises _OtherBytesError unless it has the bytes of `block`."""
        checksum = part.get("ChecksumSHA256")
        same = checksum == base64_sha256(block) if checksum else part["ETag"].strip('"') == _md5(block)
        if part["Size"] != len(block) or not same or (self.verified and not checksum):
            raise _OtherBytesError
        return self._described(index, part["ETag"], block)

    def _send_part(self, number: str, index: int, block: bytes) -> dict[str, Any]:
        checksum = {"ChecksumSHA256": base64_sha256(block)} if self.verified else {}
        answer = self.client.upload_part(
            **self._at, UploadId=number, PartNumber=index, Body=block, ContentMD5=base64_md5(block), **checksum
        )
        return self._described(index, answer["ETag"], block)

    def _described(self, index: int, etag: str, block: bytes) -> dict[str, Any]:
        checksum = {"ChecksumSHA256": base64_sha256(block)} if self.verified else {}
        return {"PartNumber": index, "ETag": etag, **checksum}

    def _size_for(self, size: int) -> int:
        """Return the bytes of a part: equal for equal files, so that an upload can be resumed."""
        least = -(-size // _MOST_PARTS)
        return max(self.part_size, -(-least // _MIB) * _MIB)


class _OtherBytesError(Exception):
    """An uploaded part is not of this file; never leaves this module."""


def quoted(etag: str) -> str:
    """Return a tag of an XML answer as headers write it: Ceph's radosgw leaves the quotation marks out there."""
    return f'"{etag}"' if etag and not etag.endswith('"') else etag


def open_uploads(client: Any, bucket: Bucket, key: str) -> Iterator[dict[str, Any]]:
    """Yield the incomplete uploads at `key` (for a key that ends in a slash, below it)."""
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket.name, Prefix=key)
    try:
        for page in pages:
            for upload in page.get("Uploads", ()):
                if upload["Key"] == key or not key or key.endswith("/"):
                    yield upload
    except ClientError as error:
        if code_of(error) not in NO_PARTS:  # a server without support for parts has no open uploads
            raise


def other_file(source: Path, size: int, sha256: str, digests: Digests) -> IntegrityError:
    """Return the error of a file that changed since it was hashed."""
    return IntegrityError(
        f"{source.name} is not the file that was hashed: {size} bytes with sha256 {sha256} instead of "
        f"{digests.size} bytes with {digests.sha256}",
        "Build it again: another process wrote to the staging folder",
    )


def _if_known(call: Callable[..., dict[str, Any]], condition: Mapping[str, str]) -> dict[str, Any]:
    """Make `call` under `condition`, or without it if the server does not support conditions."""
    try:
        return call(**condition)
    except ClientError as error:
        if not condition or code_of(error) not in UNKNOWN_THERE:
            raise
    return call()


def _opened(source: Path) -> BinaryIO:
    with storage_errors(f"read {source.name}"):
        return source.open("rb")


def _blocks(file: BinaryIO, source: Path, size: int) -> Iterator[bytes]:
    while True:
        with storage_errors(f"read {source.name}"):
            block = file.read(size)
        if not block:
            return
        yield block


def _md5(block: bytes) -> str:
    return hashlib.md5(block, usedforsecurity=False).hexdigest()


def _composite(parts: list[dict[str, Any]]) -> str:
    """Return the checksum of checksums that S3 states for an object in parts."""
    digests = b"".join(base64.b64decode(part["ChecksumSHA256"]) for part in parts)
    return f"{base64_sha256(digests)}-{len(parts)}"
