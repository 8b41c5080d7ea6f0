"""Zips that are the same bytes on every machine, and that every reader opens."""

from __future__ import annotations

import hashlib
import zipfile
from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.files.stable_zip import stable_zip

MEMBERS = {"b/été.py": b"print('x')\n" * 1000, "a.txt": b"short", "empty": b""}


def test_the_bytes_are_known() -> None:
    # 10 kB of repeated text are deflated to a few bytes; a stored zip would be larger than its content.
    made = stable_zip(MEMBERS)
    assert len(made) < 500
    assert hashlib.sha256(made).hexdigest() == "1b0316c10f9a79a5a3aed0ce619998d52f5fbfebf856ff8d03689456384eb9a0"
    assert stable_zip(dict(reversed(MEMBERS.items()))) == made


@given(st.dictionaries(st.from_regex(r"[a-zé]{1,8}(/[a-z]{1,8})?", fullmatch=True), st.binary(max_size=2000)))
def test_every_member_comes_back(members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(BytesIO(stable_zip(members))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == members
        assert archive.namelist() == sorted(members)
        assert all(info.date_time == (1980, 1, 1, 0, 0, 0) for info in archive.infolist())
        assert all(info.external_attr >> 16 == 0o100644 for info in archive.infolist())
