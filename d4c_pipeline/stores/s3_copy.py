"""Copies inside a bucket: by the server, in one request or in parts, with the headers of the new address.

The checks of target and copy belong to `s3.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from d4c_pipeline.stores.s3_client import PARALLEL
from d4c_pipeline.stores.s3_errors import NOT_THERE, REFUSED, UNKNOWN_THERE, code_of
from d4c_pipeline.stores.s3_upload import Upload, quoted

COPY_SIZE = 5 << 30
"""The largest object (bytes) that S3 copies in one request (API reference of CopyObject)."""
_PART = 512 << 20  # 10,000 parts make 5 TB, the largest object


def copy_object(upload: Upload, source: str, head: Mapping[str, Any], most: int = COPY_SIZE) -> None:
    """Copy the object at the key `source`, with the headers `head`, to the address and with the headers of `upload`.

    Copies only the object with the tag of `head`, and only to an unused key, if the server supports these conditions.
    In parts above `most` bytes. Raises botocore's errors: 412 if a condition does not hold.
    """
    client, bucket = upload.client, upload.bucket
    target = {"Bucket": bucket.name, "Key": bucket.key(upload.address)}
    origin = {"Bucket": bucket.name, "Key": source}
    arguments = {**upload.headers, "MetadataDirective": "REPLACE", "CopySourceIfMatch": head["ETag"]}
    if head["ContentLength"] > most:
        parts = TransferConfig(multipart_threshold=most, multipart_chunksize=min(most, _PART), max_concurrency=PARALLEL)
        client.copy(origin, target["Bucket"], target["Key"], ExtraArgs=arguments, Config=parts)
        return
    try:
        client.copy_object(**target, CopySource=origin, **arguments, IfNoneMatch="*")
    except ClientError as error:
        # Not every server supports the condition on the target; the caller checked the target right before.
        if code_of(error) not in UNKNOWN_THERE | REFUSED:
            raise
        if code_of(error) in REFUSED and _is_there(client, target):
            raise
        client.copy_object(**target, CopySource=origin, **arguments)


def copy_over(upload: Upload, source: str) -> str | None:
    """Copy the object at the key `source` over what lies at the address of `upload`, with its headers; return its tag.

    In one request, so that a reader gets the old or the new object. None if no object is at `source` or the server does
    not copy: nothing changed then. Raises botocore's errors.
    """
    bucket = upload.bucket
    try:
        answer = upload.client.copy_object(
            Bucket=bucket.name,
            Key=bucket.key(upload.address),
            CopySource={"Bucket": bucket.name, "Key": source},
            MetadataDirective="REPLACE",
            **upload.headers,
        )
    except ClientError as error:
        if code_of(error) not in NOT_THERE | UNKNOWN_THERE:
            raise
        return None
    return quoted(answer["CopyObjectResult"]["ETag"])


def _is_there(client: Any, target: Mapping[str, str]) -> bool:
    try:
        client.head_object(**target)
    except ClientError as error:
        if code_of(error) not in ("404", "NoSuchKey"):
            raise
        return False
    return True
