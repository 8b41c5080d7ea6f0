"""What an S3 server or the way to it answers, in words: botocore's errors become those of our tree, with a remedy.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and what radosgw, R2 and MinIO answer. A HEAD
has no body and so only a status for a code: `spelled_out` asks again. Deciding what to do about one belongs to
`s3_store` and `s3_upload`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as aws
from botocore.exceptions import BotoCoreError, ClientError

from d4c_pipeline.model.errors import D4CError, PermanentError, StorageError, TransientError

_RIGHTS = "Give its key the rights to list the bucket and to read, write and delete below the prefix, then run again"
_KEY = "Correct the store's access key and secret (see docs/stores.md), then run again"
_LATER = "Run again later: what was uploaded already is kept"
_NEEDS_PERSON = {
    "NoSuchBucket": ("the bucket does not exist", "Make the bucket, or correct its name in the document of stores"),
    "InvalidBucketName": ("no bucket can have that name", "Correct its name in the document of stores"),
    "PermanentRedirect": ("the bucket lies in another region", "Correct region or endpoint in the document of stores"),
    "AuthorizationHeaderMalformed": ("the region is not the server's", "Correct the region in the document of stores"),
    "AccessDenied": ("the server denies it", _RIGHTS),
    "AllAccessDisabled": ("the server denies it", _RIGHTS),
    "403": ("the server denies it (or does not know the key)", _RIGHTS),
    "401": ("the server wants a key", _KEY),
    "InvalidAccessKeyId": ("the server does not know the access key", _KEY),
    "SignatureDoesNotMatch": ("the secret is not that of the access key", _KEY),
    "InvalidToken": ("the session's token is not valid", _KEY),
    "ExpiredToken": ("the session's token has expired", _KEY),
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "Set the clock (NTP), then run again"),
    "QuotaExceeded": ("the quota is used up", "Raise the quota or free space in that store, then run again"),
    "InsufficientStorage": ("the server is full", "Free space in that store, then run again"),
    "507": ("the server is full", "Free space in that store, then run again"),
}
_TRANSIENT = {
    "SlowDown": "the server asks to slow down",
    "TooManyRequests": "the server asks to slow down",
    "RequestTimeout": "the server got no data in time",
    "BadDigest": "the bytes arrived damaged",
    "ConditionalRequestConflict": "another writer is at it",
    "OperationAborted": "another writer is at it",
    "NoSuchUpload": "the upload was given up, or completed, meanwhile",
}
NOT_THERE = frozenset({"404", "NoSuchKey"})
REFUSED = frozenset({"412", "PreconditionFailed"})
UNKNOWN_THERE = frozenset({"501", "NotImplemented"})
NO_PARTS = UNKNOWN_THERE | {"405", "MethodNotAllowed"}
"""What servers answer to the requests of an upload in parts when they know none."""


def code_of(error: ClientError) -> str:
    """Return the server's code (`NoSuchBucket`), or its status where it sent none."""
    return str(error.response.get("Error", {}).get("Code") or status_of(error))


def status_of(error: ClientError) -> int:
    """Return the HTTP status, 0 when there is none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def spelled_out(error: ClientError, ask: Callable[[], Any]) -> ClientError:
    """Return the error of `ask`, a request whose errors have a body, in place of one of HEAD that has only a status.

    So that a clock that is wrong, a region or a secret are named instead of "403". When `ask` succeeds, `error` stays.
    """
    if not code_of(error).isdecimal():
        return error
    try:
        ask()
    except ClientError as told:
        return told
    return error


@contextmanager
def s3_errors(deed: str) -> Iterator[None]:
    """Turn an error of botocore in the block into one of our tree; `deed` completes "Can't ..." (`write a.parquet`)."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise explain(error, deed) from error


def explain(error: BotoCoreError | ClientError, deed: str) -> D4CError:
    """Return what `error` means for whoever has to act on it."""
    if isinstance(error, ClientError):
        return _explain_answer(error, deed)
    match error:
        case aws.NoCredentialsError() | aws.PartialCredentialsError() | aws.CredentialRetrievalError():
            return StorageError(f"Can't {deed}: no access key is set", "Set the store's key, see docs/stores.md")
        case aws.ProfileNotFound() | aws.ConfigNotFound() | aws.ConfigParseError():
            return PermanentError(f"Can't {deed}: {error}", "Correct the store's profile, see docs/stores.md")
        case aws.SSLError():
            return PermanentError(
                f"Can't {deed}: the server's certificate can't be trusted",
                "Check the endpoint; with an authority of your own, set AWS_CA_BUNDLE to its certificate",
            )
        case aws.EndpointConnectionError() | aws.ConnectTimeoutError() | aws.ProxyConnectionError():
            return TransientError(f"Can't {deed}: the server can't be reached ({error})", "Check endpoint and network")
        case aws.HTTPClientError() | aws.IncompleteReadError() | aws.ResponseStreamingError():
            return TransientError(f"Can't {deed}: the connection broke ({error})", _LATER)
        case aws.ParamValidationError() | aws.NoRegionError() | aws.InvalidRegionError():
            return PermanentError(f"Can't {deed}: {error}", "Correct bucket, prefix or region in the stores' document")
        case _:
            return TransientError(f"Can't {deed}: the server's answer can't be understood ({error})", _LATER)


def no_bucket(deed: str) -> StorageError:
    """Return the error of a bucket that does not exist."""
    cause, remedy = _NEEDS_PERSON["NoSuchBucket"]
    return StorageError(f"Can't {deed}: {cause}", remedy)


def _explain_answer(error: ClientError, deed: str) -> D4CError:
    code, status = code_of(error), status_of(error)
    if code in _NEEDS_PERSON:
        cause, remedy = _NEEDS_PERSON[code]
        return StorageError(f"Can't {deed}: {cause}", remedy)
    if code in _TRANSIENT:
        return TransientError(f"Can't {deed}: {_TRANSIENT[code]}", _LATER)
    if code in UNKNOWN_THERE:
        return PermanentError(f"Can't {deed}: the server does not know that request", "Use a server that speaks S3")
    said = f"{code} {error.response.get('Error', {}).get('Message') or ''}".strip()
    if status >= 500 or status in (408, 429):
        return TransientError(f"Can't {deed}: the server failed ({said})", _LATER)
    if status in (401, 403):
        return StorageError(f"Can't {deed}: the server denies it ({said})", _RIGHTS)
    return PermanentError(f"Can't {deed}: the server refuses it ({said})", "Look at the store's settings and its log")
