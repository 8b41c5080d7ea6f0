"""The connection to a bucket: endpoint, region, form of the address, key, and the detected abilities of its server.

A key comes from the store's settings, else from the defaults of AWS tools (environment, profile, role). Operations in
the bucket belong to `s3.py` and `s3_upload.py`.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

from boto3.session import Session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from d4c_pipeline.stores.s3_errors import code_of, s3_errors, status_of

Addressing = Literal["auto", "path", "virtual"]
PARALLEL = 4
"""The number of concurrent uploads of parts."""

_ATTEMPTS = 5
_CONNECT_SECONDS = 15
_READ_SECONDS = 60
# A name that no address can have; a killed trial leaves at most one object.
_TRIAL = ".d4c-trial"


@dataclass(frozen=True)
class Bucket:
    """A bucket at a server. `prefix` has no slash at its ends; without `endpoint` it is AWS.

    `access_key` and `secret_key` (never shown) take precedence over `profile`, which takes precedence over the
    environment.
    """

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    addressing: Addressing = "auto"
    profile: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)

    def key(self, address: str) -> str:
        """Return the key of the object at `address`."""
        return f"{self.prefix}/{address}" if self.prefix else address

    def client(self, *, anonymous: bool = False) -> Any:
        """Return a client of boto3, which is thread-safe. `anonymous`: a client that signs nothing, as a reader.

        Raises PermanentError for an unknown profile.
        """
        with s3_errors(f"reach the bucket {self.name}"):
            session = Session(profile_name=self.profile)
            return session.client(
                "s3",
                endpoint_url=self.endpoint,
                # Servers without regions accept this one.
                region_name=self.region or session.region_name or "us-east-1",
                aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key,
                config=Config(
                    signature_version=UNSIGNED if anonymous else None,
                    connect_timeout=_CONNECT_SECONDS,
                    read_timeout=_READ_SECONDS,
                    retries={"mode": "standard", "max_attempts": _ATTEMPTS},
                    max_pool_connections=2 * PARALLEL,
                    s3={"addressing_style": self.addressing},
                    # boto3 sends CRCs as trailers, which servers before 2025 refuse; uploads state sha256 and md5.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    # A proxy of the environment can't reach the loopback interface of this machine.
                    proxies={} if _is_loopback(self.endpoint) else None,
                ),
            )


def verifies_sha256(client: Any, bucket: Bucket) -> bool:
    """Return whether the server verifies the sha256 of a request, by sending bytes with a wrong one.

    Many servers ignore the header: objects in them must be read back.
    """
    key = bucket.key(_TRIAL)
    try:
        client.put_object(Bucket=bucket.name, Key=key, Body=b"d4c", ChecksumSHA256=base64_sha256(b"something else"))
    except ClientError as error:
        # A server that refuses the header, or this key, verified nothing; the next call reports other problems.
        if code_of(error) in ("BadDigest", "XAmzContentChecksumMismatch"):
            return True
        if status_of(error) in (400, 403, 501):
            return False
        raise
    client.delete_object(Bucket=bucket.name, Key=key)
    return False


def base64_sha256(data: bytes) -> str:
    """Return the sha256 of `data` as S3 writes it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def base64_md5(data: bytes) -> str:
    """Return the md5 of `data` as the header Content-MD5 has it."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _is_loopback(endpoint: str | None) -> bool:
    host = urlsplit(endpoint or "").hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
