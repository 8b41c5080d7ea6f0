"""The copy of a mirror's catalogue in the cache: fetched, revalidated, and of a form that the client reads.

What its rows say belongs to `catalogue`, a request to `mirrors`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from d4c.mirrors import CATALOGUE, Mirror, MirrorFailure, opened

_KNOWN_MAJOR = 1
_MOST_BYTES = 1 << 32

COLUMNS = {
    **dict.fromkeys(
        ("dataset", "vintage", "version", "doi", "sha256", "title", "withdrawn_reason", "d4c:series", "sci:citation"),
        lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
    ),
    **dict.fromkeys(("is_latest", "d4c:test_doi"), pa.types.is_boolean),
    **dict.fromkeys(("rows", "bytes"), pa.types.is_integer),
    **dict.fromkeys(("published", "withdrawn_at"), pa.types.is_timestamp),
    **dict.fromkeys(("data_urls", "d4c:parts", "links"), pa.types.is_list),
    "assets": pa.types.is_struct,
}
"""What is read of the catalogue; a column of another kind is a catalogue of another form."""


class NewerForm(MirrorFailure):
    """The catalogue has a form of a later time."""


def copy_of(cache: Path, mirror: Mirror) -> Path:
    """Return the address of the copy of a mirror's catalogue in the cache, fetched or not."""
    return cache / "catalogues" / f"{hashlib.sha256(mirror.base.encode()).hexdigest()}.parquet"


def fetch(mirror: Mirror, cache: Path, timeout: float) -> Path:
    """Bring the copy of a mirror's catalogue up to date and return it. Raises MirrorFailure."""
    copy = copy_of(cache, mirror)
    copy.parent.mkdir(parents=True, exist_ok=True)
    facts = copy.with_suffix(".json")
    known: dict[str, str] = {}
    if copy.is_file() and facts.is_file():
        try:
            stated = json.loads(facts.read_text("utf-8"))
            # Validators count only for the very bytes that came with them.
            if stated.pop("sha256", None) == hashlib.sha256(copy.read_bytes()).hexdigest():
                known = stated
        except ValueError:
            known = {}
    with opened(mirror.address(CATALOGUE), 0, timeout, known) as answer:
        if answer.unchanged:
            os.utime(copy)
            return copy
        number, name = tempfile.mkstemp(dir=copy.parent, suffix=".part")
        new, hashed, size = Path(name), hashlib.sha256(), 0
        try:
            with os.fdopen(number, "wb") as stream:
                for chunk in answer.chunks:
                    stream.write(chunk)
                    hashed.update(chunk)
                    size += len(chunk)
                    if size > _MOST_BYTES:
                        raise MirrorFailure(f"more than {_MOST_BYTES} bytes")
                stream.flush()
                os.fsync(stream.fileno())
            if answer.total not in (None, size):
                raise MirrorFailure("the connection ended early", cut=True)
            _check(new)
            facts.unlink(missing_ok=True)
            new.replace(copy)
            facts.write_text(json.dumps({**answer.validators, "sha256": hashed.hexdigest()}), "utf-8")
        finally:
            new.unlink(missing_ok=True)
    return copy


def _check(path: Path) -> None:
    """Raise MirrorFailure unless the file is a catalogue of a form that this client reads."""
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise MirrorFailure("its catalogue is no Parquet file") from error
    try:
        stated = json.loads((schema.metadata or {}).get(b"stac-geoparquet", b"{}")).get("version")
    except ValueError:
        stated = None
    if stated is None:
        raise MirrorFailure("its catalogue is no STAC GeoParquet")
    if int(str(stated).partition(".")[0]) > _KNOWN_MAJOR:
        raise NewerForm(f"it has form {stated}, this client reads {_KNOWN_MAJOR}")
    other = [name for name, test in COLUMNS.items() if name not in schema.names or not test(schema.field(name).type)]
    if other:
        raise NewerForm(f"it has another form than this client reads (columns: {', '.join(other)})")
