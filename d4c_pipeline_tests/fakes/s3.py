"""An S3 server for tests: moto's, with what it leaves out (verifying checksums) and with faults, at the HTTP layer.

Every request passes `FakeS3.requests`; `answers` may answer one instead of the server, or change what it is given.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.stores.s3_client import Bucket

BUCKET = "open-data"
PART = 5 << 20  # the least that S3 allows


def let_all_read(client: Any, bucket: str) -> None:
    """Let everybody read what is in the bucket, and see what is not."""
    client.put_bucket_acl(Bucket=bucket, ACL="public-read")
    policy = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [policy]}))


@dataclass(frozen=True)
class Request:
    """A request: what it is (`PUT part`, `POST complete`, `GET`, ...), and its WSGI environment."""

    kind: str
    environ: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What is answered instead of what the server would say."""

    status: str
    code: str


Fault = Callable[[Request], Answer | None]


@dataclass
class FakeS3:
    """The server. `verifying`: refuses bytes that don't have the checksum they come with, as AWS does."""

    url: str = ""
    verifying: bool = False
    requests: list[str] = field(default_factory=list[str])
    fault: Fault | None = None
    _server: BaseWSGIServer | None = None
    _sums: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def start(self) -> FakeS3:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, True, request_handler=MotoRequestHandler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.client().create_bucket(Bucket=BUCKET)
        return self

    def stop(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="testkey",
            aws_secret_access_key="testsecret",
        )

    def bucket(self, prefix: str = "d4c") -> Bucket:
        return Bucket(BUCKET, prefix, self.url, addressing="path", access_key="testkey", secret_key="testsecret")

    def store(self, prefix: str = "d4c", name: str = "primary") -> S3Store:
        return S3Store(self.bucket(prefix), f"{self.url}/{BUCKET}/{prefix}", name, part_size=PART)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(_kind(environ), environ)
        self.requests.append(request.kind)
        answer = self.fault(request) if self.fault is not None else None
        body = b""
        if self.verifying and environ["REQUEST_METHOD"] in ("PUT", "POST"):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            wanted = environ.get("HTTP_X_AMZ_CHECKSUM_SHA256")
            if request.kind.startswith("PUT") and wanted not in (None, _sha256(body)):
                answer = answer or Answer("400 Bad Request", "BadDigest")
        if answer is not None:
            environ["wsgi.input"].read(0 if body else int(environ.get("CONTENT_LENGTH") or 0))
            said = f"<Error><Code>{answer.code}</Code><Message>a fault</Message></Error>".encode()
            start_response(answer.status, [("Content-Type", "application/xml"), ("Content-Length", str(len(said)))])
            return [said]
        if self.verifying and request.kind == "POST complete":
            return self._completed(environ, start_response, body)
        if self.verifying and request.kind == "PUT part":
            self._sums[_part(environ)] = _sha256(body)
        if self.verifying and request.kind == "GET parts":
            return self._changed(environ, start_response, partial(self._with_sums, _part(environ)[0]))
        return self._moto(environ, start_response)

    def _completed(self, environ: dict[str, Any], start_response: Any, body: bytes) -> Iterable[bytes]:
        """Complete an upload and say the checksum of checksums, as AWS does and moto doesn't."""
        sums = re.findall(rb"<ChecksumSHA256>([^<]+)</ChecksumSHA256>", body)
        whole = base64.b64encode(hashlib.sha256(b"".join(map(base64.b64decode, sums))).digest())
        end = b"</CompleteMultipartUploadResult>"
        checksum = b"<ChecksumSHA256>" + whole + f"-{len(sums)}</ChecksumSHA256>".encode()
        return self._changed(environ, start_response, lambda said: said.replace(end, checksum + end))

    def _with_sums(self, upload: str, said: bytes) -> bytes:
        """Name the checksum of every part, as AWS does and moto doesn't."""

        def named(found: re.Match[bytes]) -> bytes:
            checksum = self._sums.get((upload, found[1].decode()), "")
            return found[0] + f"<ChecksumSHA256>{checksum}</ChecksumSHA256>".encode()

        return re.sub(rb"<PartNumber>(\d+)</PartNumber>", named, said)

    def _changed(self, environ: dict[str, Any], start_response: Any, change: Callable[[bytes], bytes]) -> list[bytes]:
        head: list[Any] = []

        def keep(status: str, headers: list[tuple[str, str]], _error: object = None) -> None:
            head[:] = [status, headers]

        said = change(b"".join(self._moto(environ, keep)))
        headers = [(key, value) for key, value in head[1] if key.lower() != "content-length"]
        start_response(head[0], [*headers, ("Content-Length", str(len(said)))])
        return [said]


def _part(environ: dict[str, Any]) -> tuple[str, str]:
    query = parse_qs(environ["QUERY_STRING"])
    return query["uploadId"][0], query.get("partNumber", [""])[0]


def _kind(environ: dict[str, Any]) -> str:
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    method = environ["REQUEST_METHOD"]
    if "partNumber" in query:
        return f"{method} part"
    if "uploads" in query:
        return "POST create" if method == "POST" else "GET uploads"
    if "uploadId" in query:
        return {"POST": "POST complete", "DELETE": "DELETE upload", "GET": "GET parts"}[method]
    return str(method)


def _sha256(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()
