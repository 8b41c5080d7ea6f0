"""A process that uploads again and again in forks of its own, each killed at another HTTP call, and looks what is left.

Started by `test_s3_crashes.py`; prints one JSON line for every call at which a fork was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from botocore.awsrequest import AWSHTTPConnection, AWSHTTPSConnection

from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.stores.s3_client import Bucket
from d4c_pipeline_tests.fakes.s3 import PART

MOMENTS = ("before", "sent")
_OLD = b"what was there before"
_calls = {"all": 0, "parts": 0}


def count(fatal: int | None, moment: str) -> None:
    """Count this process's calls, and kill it at number `fatal`: before it is sent, or before its answer is read."""

    def at(method: str, counts: bool) -> None:
        original: Callable[..., Any] = getattr(AWSHTTPConnection, method)

        def deadly(self: Any, *args: Any, **kwargs: Any) -> Any:
            if counts:
                if (moment, _calls["all"]) == ("before", fatal):
                    os.kill(os.getpid(), signal.SIGKILL)
                self.number = _calls["all"]  # parts go in parallel
                _calls["all"] += 1
                _calls["parts"] += "partNumber" in str(args[1:])
            elif (moment, self.number) == ("sent", fatal):
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, *args, **kwargs)

        for kind in (AWSHTTPConnection, AWSHTTPSConnection):
            setattr(kind, method, deadly)

    at("request", counts=True)
    at("getresponse", counts=False)


def put(store: S3Store, source: Path, address: str) -> None:
    """Put the file where it belongs."""
    if address.startswith("releases/"):
        store.put_immutable(source, address, hash_file(source))
    else:
        store.replace(source, address)


def in_fork(work: Callable[[], dict[str, Any] | None]) -> tuple[int, dict[str, Any]]:
    """Do `work` in a fork: its exit code (negative: the signal that killed it) and what it returned."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.write(writing, json.dumps(work() or {}).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), json.loads(said or b"{}")


def main(url: str, bucket: str, key: str, secret: str, source: Path, kind: str) -> None:
    """Go through every call and both moments; `kind` is the first part of the address."""
    digests = hash_file(source)
    whole = Bucket(bucket, "", url, addressing="path", access_key=key, secret_key=secret)
    client = whole.client()  # costs more than an upload, and no connection is open before the forks

    def opened(prefix: str) -> S3Store:
        store = S3Store(replace(whole, prefix=prefix), f"{url}/{bucket}/{prefix}", part_size=PART)
        store.__dict__["_client"] = client
        return store

    def killed(prefix: str, address: str, fatal: int, moment: str) -> None:
        count(fatal, moment)
        put(opened(prefix), source, address)

    def looked(prefix: str, address: str) -> dict[str, Any]:
        """What a reader finds after the crash, then what the second attempt does."""
        store = opened(prefix)
        there = store.stat(address)
        found = "nothing" if there is None else "new" if store.verify(address, digests.size, digests.sha256) else "torn"
        if found == "torn" and there == len(_OLD) and store.read_bytes(address) == _OLD:
            found = "old"
        begun = store.open_uploads()
        count(None, "")
        put(opened(prefix), source, address)
        return {
            "found": found,
            "begun": begun,
            "calls": _calls["all"],
            "parts": _calls["parts"],
            "right": store.verify(address, digests.size, digests.sha256),
            "left": store.open_uploads(),
        }

    for moment in MOMENTS:
        code, fatal = -9, 0
        while code == -9:
            prefix, address = f"{kind}-{moment}-{fatal}", f"{kind}/a/2021/v1.0.0/a.parquet"
            if kind == "processed":
                in_fork(lambda prefix=prefix, address=address: opened(prefix).replace(_OLD, address) and None)
            code, _ = in_fork(lambda prefix=prefix, address=address, n=fatal, m=moment: killed(prefix, address, n, m))
            again, said = in_fork(lambda prefix=prefix, address=address: looked(prefix, address))
            line = {"moment": moment, "fatal": fatal, "code": code, "again": again, **said}
            sys.stdout.write(json.dumps(line) + "\n")
            fatal += 1


if __name__ == "__main__":
    main(*sys.argv[1:5], Path(sys.argv[5]), sys.argv[6])
