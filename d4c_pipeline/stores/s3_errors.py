"""Errors of an S3 server and of the connection to it: botocore's errors become errors of our tree, with a remedy.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and those of radosgw, R2 and MinIO. The
response to HEAD has no body, so its code is only a status: `spelled_out` sends another request. Reactions to an error
belong to `s3.py` and `s3_upload.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as aws
from botocore.exceptions import BotoCoreError, ClientError

from d4c_pipeline.model.errors import D4CError, PermanentError, StorageError, TransientError

_RIGHTS = "Grant its key the rights to list the bucket and to read, write and delete below the prefix, then run again"
_KEY = "Correct the store's access key and secret (see docs/stores.md), then run again"
_LATER = "Run again later: uploaded parts are kept"
_NEEDS_PERSON = {
    "NoSuchBucket": ("the bucket does not exist", "Create the bucket, or correct its name in the document of stores"),
    "InvalidBucketName": ("no bucket can have that name", "Correct its name in the document of stores"),
    "PermanentRedirect": ("the bucket lies in another region", "Correct region or endpoint in the document of stores"),
    "AuthorizationHeaderMalformed": ("the region is not the server's", "Correct the region in the document of stores"),
    "AccessDenied": ("the server denies it", _RIGHTS),
    "AllAccessDisabled": ("the server denies it", _RIGHTS),
    "403": ("the server denies it (or does not know the key)", _RIGHTS),
    "401": ("the server requires a key", _KEY),
    "InvalidAccessKeyId": ("the server does not know the access key", _KEY),
    "SignatureDoesNotMatch": ("the secret does not belong to the access key", _KEY),
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
    "RequestTimeout": "the server received no data in time",
    "BadDigest": "the bytes arrived damaged",
    "ConditionalRequestConflict": "another process is writing",
    "OperationAborted": "another process is writing",
    "NoSuchUpload": "the upload was aborted or completed meanwhile",
}
NOT_THERE = frozenset({"404", "NoSuchKey"})
REFUSED = frozenset({"412", "PreconditionFailed"})
UNKNOWN_THERE = frozenset({"501", "NotImplemented"})
NO_PARTS = UNKNOWN_THERE | {"405", "MethodNotAllowed"}
"""Codes of servers that do not support uploads in parts."""


def code_of(error: ClientError) -> str:
    """Return the server's code (`NoSuchBucket`), or its status if it sent no code."""
    return str(error.response.get("Error", {}).get("Code") or status_of(error))


def status_of(error: ClientError) -> int:
    """Return the HTTP status, 0 without one."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def spelled_out(error: ClientError, ask: Callable[[], Any]) -> ClientError:
    """Return the error of `ask`, a request whose errors have a body, in place of an error of HEAD with only a status.

    The message then names a wrong clock, region or secret instead of "403". If `ask` succeeds, returns `error`.
    """
    if not code_of(error).isdecimal():
        return error
    try:
        ask()
    except ClientError as detailed:
        return detailed
    return error


@contextmanager
def s3_errors(action: str) -> Iterator[None]:
    """Turn botocore's errors in the block into ours; `action` completes "Can't ..." (`write a.parquet`)."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise explain(error, action) from error


def explain(error: BotoCoreError | ClientError, action: str) -> D4CError:
    """Return the error of our tree for `error`, with its remedy."""
    if isinstance(error, ClientError):
        return _explain_answer(error, action)
    match error:
        case aws.NoCredentialsError() | aws.PartialCredentialsError() | aws.CredentialRetrievalError():
            return StorageError(f"Can't {action}: no access key is set", "Set the store's key, see docs/stores.md")
        case aws.ProfileNotFound() | aws.ConfigNotFound() | aws.ConfigParseError():
            return PermanentError(f"Can't {action}: {error}", "Correct the store's profile, see docs/stores.md")
        case aws.SSLError():
            return PermanentError(
                f"Can't {action}: the server's certificate can't be trusted",
                "Check the endpoint; with an authority of your own, set AWS_CA_BUNDLE to its certificate",
            )
        case aws.EndpointConnectionError() | aws.ConnectTimeoutError() | aws.ProxyConnectionError():
            return TransientError(
                f"Can't {action}: the server can't be reached ({error})", "Check endpoint and network"
            )
        case aws.HTTPClientError() | aws.IncompleteReadError() | aws.ResponseStreamingError():
            return TransientError(f"Can't {action}: the connection broke ({error})", _LATER)
        case aws.ParamValidationError() | aws.NoRegionError() | aws.InvalidRegionError():
            return PermanentError(
                f"Can't {action}: {error}", "Correct bucket, prefix or region in the stores' document"
            )
        case _:
            return TransientError(f"Can't {action}: the server's response is invalid ({error})", _LATER)


def no_bucket(action: str) -> StorageError:
    """Return the error of a bucket that does not exist."""
    cause, remedy = _NEEDS_PERSON["NoSuchBucket"]
    return StorageError(f"Can't {action}: {cause}", remedy)


def _explain_answer(error: ClientError, action: str) -> D4CError:
    code, status = code_of(error), status_of(error)
    if code in _NEEDS_PERSON:
        cause, remedy = _NEEDS_PERSON[code]
        return StorageError(f"Can't {action}: {cause}", remedy)
    if code in _TRANSIENT:
        return TransientError(f"Can't {action}: {_TRANSIENT[code]}", _LATER)
    if code in UNKNOWN_THERE:
        return PermanentError(
            f"Can't {action}: the server does not support that request", "Use a server that supports S3"
        )
    message = f"{code} {error.response.get('Error', {}).get('Message') or ''}".strip()
    if status >= 500 or status in (408, 429):
        return TransientError(f"Can't {action}: the server failed ({message})", _LATER)
    if status in (401, 403):
        return StorageError(f"Can't {action}: the server denies it ({message})", _RIGHTS)
    return PermanentError(
        f"Can't {action}: the server refuses it ({message})", "Check the store's settings and its log"
    )
