"""Objects under a prefix of an S3-compatible bucket: listed by boto3, fetched over HTTP.

boto3 signs the addresses and `fetch.download` transfers the bytes, so an interrupted object resumes with a range.
Writing to buckets belongs to `stores`.
"""

# boto3 ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from d4c_pipeline.model.errors import NeedsPersonError, SourceError, TransientError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import S3Source
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources import files
from d4c_pipeline.sources.content import content_of_marks
from d4c_pipeline.sources.dating import day_of
from d4c_pipeline.sources.declared import WebSource
from d4c_pipeline.sources.fetch.download import Wanted, known_of
from d4c_pipeline.sources.fetch.origins import rewrite
from d4c_pipeline.sources.fetch.transfers import fetch_all
from d4c_pipeline.sources.folder import vintages_of
from d4c_pipeline.sources.port import Fetched, FileMark, Fingerprint, Progress
from d4c_pipeline.transport.patience import explain_status

_SIGNED_FOR = 3600  # seconds; each request gets its own signature
_ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})  # GLACIER_IR is readable at once
_MISSING = frozenset({"NoSuchBucket", "NoSuchKey"})


class S3Objects(WebSource[S3Source]):
    """The objects under a prefix (a `Source`, see `port.py`). The ledger calls them `s3://bucket/key`."""

    def _addresses(self) -> tuple[str, ...]:
        return () if self._declared.endpoint is None else (self._declared.endpoint,)

    def _discovered(self) -> tuple[Vintage, ...]:
        if not self._declared.names_vintage:
            return (_newest_day(self._marks(None)),)
        # A prefix may end in the middle of a name; the template of a path must be complete.
        template = f"/{self._declared.prefix.rstrip('/')}"
        found = sorted(vintages_of(template, self._folders))
        if not found:
            raise SourceError(f"No vintage found at {self._place(None)}", "Correct bucket or prefix")
        return tuple(found)

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return ETag, time and length of each object, from the listing. See `Source.observe`."""
        return Fingerprint(self._marks(vintage))

    def content(self, vintage: Vintage) -> str | None:
        """Return a hash over the members of zips. See `Source.content`."""
        client = self._client()
        marks = self._marks(vintage)
        names = files.file_names([mark.url for mark in marks], self._declared.format)
        return content_of_marks(
            self._web, [(name, self._sign(client, mark.url)) for name, mark in zip(names, marks, strict=True)]
        )

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Fetch the objects into `into`. See `Source.fetch`."""
        marks = self._marks(vintage)
        self._require_served(vintage, lambda: _newest_day(marks), self._place(vintage))
        client = self._client()
        names = files.file_names([mark.url for mark in marks], self._declared.format)
        wanted = [
            Wanted(
                mark.url,
                name,
                (mark.url,),
                known=known_of(mark.url, known, self._declared.format),
                sign=lambda url: self._sign(client, url),
            )
            for mark, name in zip(marks, names, strict=True)
        ]
        fetched = fetch_all(self._web, wanted, into, progress, pause=self._pause)
        for mark, file in zip(marks, fetched, strict=True):
            if mark.etag is not None and file.etag not in (None, mark.etag):
                raise TransientError(f"{mark.url} was replaced while it was fetched", "Try again")
        return fetched

    def _marks(self, vintage: Vintage | None) -> tuple[FileMark, ...]:
        declared = self._declared
        prefix = declared.prefix.format(vintage=vintage or Vintage.parse("1970"))
        marks: list[FileMark] = []
        with self._explained():
            client = self._client()
            for page in client.get_paginator("list_objects_v2").paginate(
                Bucket=declared.bucket, Prefix=prefix, **self._payer
            ):
                for entry in page.get("Contents", ()):
                    key = str(entry["Key"])
                    if _is_marker(key, int(entry.get("Size") or 0)):
                        continue
                    below = key.removeprefix(prefix).lstrip("/") or PurePosixPath(key).name
                    matches = fnmatchcase(below, declared.pattern) or fnmatchcase(
                        PurePosixPath(key).name, declared.pattern
                    )
                    if matches:
                        if entry.get("StorageClass") in _ARCHIVED:
                            self._require_restored(client, key, str(entry["StorageClass"]))
                        moment = entry["LastModified"].astimezone(UTC).isoformat()
                        marks.append(FileMark(self._url(key), entry.get("ETag"), moment, entry.get("Size")))
        if not marks:
            raise SourceError(
                f"No object at {self._place(vintage)} matches '{declared.pattern}'", "Correct prefix or pattern"
            )
        return tuple(marks)

    def _require_restored(self, client: Any, key: str, kind: str) -> None:
        """Raise NeedsPersonError for an archived object that is not restored."""
        head = client.head_object(Bucket=self._declared.bucket, Key=key, **self._payer)
        if 'ongoing-request="false"' not in str(head.get("Restore") or ""):
            raise NeedsPersonError(
                f"{self._url(key)} is archived (storage class {kind}) and can't be read",
                "Restore it, or ask its owner to; or exclude it by the pattern",
            )

    @property
    def _payer(self) -> dict[str, str]:
        return {"RequestPayer": "requester"} if self._declared.requester_pays else {}

    def _folders(self, path: str) -> list[str]:
        prefix = f"{path.strip('/')}/".lstrip("/")
        with self._explained():
            pages = (
                self._client()
                .get_paginator("list_objects_v2")
                .paginate(Bucket=self._declared.bucket, Prefix=prefix, Delimiter="/", **self._payer)
            )
            return [
                str(entry["Prefix"]).removeprefix(prefix).strip("/")
                for page in pages
                for entry in page.get("CommonPrefixes", ())
            ]

    def _client(self) -> Any:
        # Imported here: the import takes half a second, which other sources don't need.
        from boto3.session import Session  # noqa: PLC0415
        from botocore import UNSIGNED  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        declared, patience = self._declared, self._web.patience
        with self._explained():
            client = Session(profile_name=declared.profile).client(
                "s3",
                endpoint_url=None if declared.endpoint is None else rewrite(declared.endpoint, self._origins),
                region_name=declared.region or "us-east-1",
                config=Config(
                    signature_version=UNSIGNED if declared.anonymous else "s3v4",
                    connect_timeout=patience.connect_timeout,
                    read_timeout=patience.read_timeout,
                    retries={"total_max_attempts": patience.attempts, "mode": "standard"},
                    # Services other than Amazon's seldom have a host name for each bucket.
                    s3={"addressing_style": "auto" if declared.endpoint is None else "path"},
                ),
            )
        if declared.requester_pays:
            client.meta.events.register("before-sign.s3.GetObject", _charge_reader)
        return client

    def _sign(self, client: Any, url: str) -> str:
        key = unquote(url.removeprefix(f"s3://{self._declared.bucket}/"))
        with self._explained():
            return str(
                client.generate_presigned_url(
                    "get_object",
                    Params={"Bucket": self._declared.bucket, "Key": key},
                    ExpiresIn=_SIGNED_FOR,
                )
            )

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Turn errors of boto3 into errors with a remedy."""
        from botocore import exceptions  # noqa: PLC0415

        place = self._place(None)
        try:
            yield
        except exceptions.ClientError as error:
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            code = str(error.response.get("Error", {}).get("Code", ""))
            if status == 403:
                raise _refused(place, code) from error
            if code in _MISSING:
                raise SourceError(f"{place} does not exist ({code})", "Correct the bucket") from error
            raise explain_status(status, place) from error
        except (exceptions.NoCredentialsError, exceptions.ProfileNotFound, exceptions.PartialCredentialsError) as error:
            raise NeedsPersonError(
                f"No credentials for {place}: {error}", "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError) as error:
            raise TransientError(f"{place} can't be reached: {error}", "Try again later") from error
        except exceptions.BotoCoreError as error:
            raise SourceError(f"{place} can't be listed: {error}", "Correct endpoint, bucket or region") from error

    def _place(self, vintage: Vintage | None) -> str:
        prefix = self._declared.prefix if vintage is None else self._declared.prefix.format(vintage=vintage)
        return f"s3://{self._declared.bucket}/{prefix}"

    def _url(self, key: str) -> str:
        return f"s3://{self._declared.bucket}/{quote(key)}"


def _newest_day(marks: Sequence[FileMark]) -> Vintage:
    newest = max(marks, key=lambda mark: datetime.fromisoformat(mark.last_modified or ""))
    return day_of(datetime.fromisoformat(newest.last_modified or ""), newest.url)


def _charge_reader(request: Any, **_: Any) -> None:
    # In the address: boto3 signs it as a header, which the request would then have to send.
    request.url += f"{'&' if '?' in request.url else '?'}x-amz-request-payer=requester"


def _is_marker(key: str, size: int) -> bool:
    """Return whether an object is the mark of a folder, as some tools create them."""
    return key.endswith("/") or (size == 0 and key.endswith("_$folder$"))


def _refused(place: str, code: str) -> NeedsPersonError:
    return NeedsPersonError(
        f"{place} refuses access ({code or 403})",
        "Correct the credentials, or declare anonymous: true for a public bucket; if the reader pays (requester pays),"
        " declare requester_pays: true and anonymous: false",
    )
