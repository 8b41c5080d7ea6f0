"""A process killed at any HTTP call of a multipart upload: the next one leaves the right bytes and nothing else."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline_tests.fakes.s3 import PART, FakeS3
from d4c_pipeline_tests.integration.stores import upload_crashes
from d4c_pipeline_tests.support.strides import stride

REPOSITORY = Path(__file__).parents[3]
PARTS = 2


def matrix(url: str, bucket: str, key: str, secret: str, source: Path, kind: str) -> list[dict[str, Any]]:
    """What was left by a process killed at each call, and what the next one did."""
    words = [sys.executable, "-m", upload_crashes.__name__, url, bucket, key, secret, str(source), kind]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


KINDS = [
    ("moto", "releases"),
    pytest.param("real", "processed", marks=pytest.mark.s3),
    pytest.param("real", "releases", marks=pytest.mark.s3),
    ("verifying", "releases"),
    ("moto", "processed"),
]


# Each takes every call, some 27 s; the last two are tried by `benchmarks/killed.py`.
@pytest.mark.parametrize(("server", "kind"), KINDS if stride(2) == 1 else KINDS[:3])
def test_killed_at_any_call(request: pytest.FixtureRequest, server: str, kind: str, tmp_path: Path) -> None:
    source = tmp_path / "large.parquet"
    source.write_bytes(random.Random(6).randbytes((PARTS - 1) * PART + 12_345))
    bucket = f"t-{uuid.uuid4().hex}"
    if server == "real":
        request.getfixturevalue("real_s3").create_bucket(Bucket=bucket)
        where = (os.environ["D4C_S3_URL"], bucket, os.environ["D4C_S3_KEY"], os.environ["D4C_S3_SECRET"])
    else:
        fake: FakeS3 = request.getfixturevalue("moto" if server == "moto" else "fake")
        fake.client().create_bucket(Bucket=bucket)
        where = (fake.url, bucket, "testkey", "testsecret")
    lines = matrix(*where, source, kind)

    for line in lines:
        # Never torn, and whatever was left: the second attempt ends with the right bytes and no parts of the first.
        assert line["found"] in ({"nothing", "new"} if kind == "releases" else {"old", "new"}), line
        assert (line["again"], line["right"], line["left"]) == (0, True, 0), line
    for moment in upload_crashes.MOMENTS:
        tried = [line for line in lines if line["moment"] == moment]
        assert [line["code"] for line in tried] == [-9] * (len(tried) - 1) + [0]
        # A trial of the server, two looks, the list of uploads, the upload, its parts, its end.
        assert len(tried) - 1 >= 5 + PARTS + 1
        assert any(line["begun"] for line in tried), moment
        # Immutable files are large and worth going on with: who died before the end sends no part again.
        resumed = [line for line in tried if line["begun"] == 1 and line["found"] == "nothing" and line["parts"] == 0]
        assert bool(resumed) == (kind == "releases"), moment
