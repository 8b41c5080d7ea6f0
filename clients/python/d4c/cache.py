"""The cache: files by their sha256, fetched from the first mirror that delivers the published bytes.

A file lies in the cache only whole and verified. Which files there are belongs to `catalogue` and `release`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

from d4c.errors import D4CWarning, IntegrityError, UnreachableError
from d4c.mirrors import MirrorFailure, opened

try:
    import fcntl
except ImportError:  # Windows has other locks: there each process fetches into a file of its own
    fcntl = None

SETTING = "D4C_CACHE"
_RESUMES = 5
_verified: dict[Path, tuple[int, ...]] = {}
# What `stat` said of files that this process verified: bits that rot later are found by the next process.


@dataclass(frozen=True)
class File:
    """A published file: its name, bytes and sha256 (hex), and where it lies at the publisher's and at archives."""

    name: str
    size: int
    sha256: str
    addresses: tuple[str, ...] = ()
    part: str | None = None


def folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the cache: the given one, else `D4C_CACHE`, else the user's own for caches."""
    if given is not None:
        return Path(given).expanduser().absolute()
    if text := os.environ.get(SETTING):
        return Path(text).expanduser().absolute()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "d4c" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "d4c"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "d4c"


def place(cache: Path, file: File) -> Path:
    """Return the path of a file in the cache."""
    return cache / "files" / file.sha256[:2] / file.sha256 / file.name


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def get(cache: Path, file: File, addresses: Sequence[str], timeout: float) -> Path:
    """Return the verified file, from the cache or else from the first address that delivers its bytes.

    Warns of a cached copy that has rotted, and of addresses that served other bytes. Raises IntegrityError when every
    answer had other bytes, UnreachableError when no address answered in full.
    """
    target = place(cache, file)
    if target.is_file():
        if whole(target, file):
            return target
        warnings.warn(f"{target} had rotted in the cache; it is fetched again.", D4CWarning, stacklevel=4)
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    lies: list[str] = []
    with _part(target, file) as (part, stream):
        for address in addresses:
            try:
                lie = _delivered(stream, file, address, timeout)
            except MirrorFailure as failure:
                failures.append(f"{address}: {failure}")
                continue
            if lie is not None:
                lies.append(f"{address}: {lie}")
                continue
            stream.flush()
            os.fsync(stream.fileno())
            part.chmod(0o444)
            part.replace(target)
            _verified[target] = _facts(target)
            if lies:
                text = "; ".join(lies)
                warnings.warn(f"A mirror served other bytes than published and was refused: {text}.", D4CWarning, 4)
            return target
    reasons = "; ".join([*lies, *failures]) or "no address is known"
    if lies and not failures:
        raise IntegrityError(
            f"Every mirror serves other bytes than {file.name} was published with: {reasons}",
            "Tell the publisher, and give another mirror",
        )
    raise UnreachableError(f"No mirror delivered {file.name}: {reasons}", "Give another mirror, or try again later")


def whole(path: Path, file: File, *, again: bool = False) -> bool:
    """Return whether the bytes at `path` are those of `file`. Hashes them once a process, or `again`."""
    facts = _facts(path)
    if not again and _verified.get(path) == facts:
        return True
    if path.stat().st_size != file.size or digest(path) != file.sha256:
        _verified.pop(path, None)
        return False
    _verified[path] = facts
    return True


def _facts(path: Path) -> tuple[int, ...]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@contextmanager
def _part(target: Path, file: File) -> Iterator[tuple[Path, BufferedRandom]]:
    """The file that grows beside `target`: what a killed process left of it, or one of our own while another writes."""
    part = target.parent / f".{file.sha256}.part"
    stream = part.open("a+b")
    if not _locked(stream, part):
        stream.close()
        number, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
        os.close(number)
        part = Path(name)
        stream = part.open("w+b")
        try:
            yield part, stream
        finally:
            stream.close()
            part.unlink(missing_ok=True)
        return
    with stream:
        yield part, stream


def _locked(stream: BufferedRandom, part: Path) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another process may have completed and renamed the file between the opening and the lock.
        return part.stat().st_ino == os.fstat(stream.fileno()).st_ino
    except OSError:
        return False


def _delivered(stream: BufferedRandom, file: File, address: str, timeout: float) -> str | None:
    """Fetch the rest of the file; return None when the bytes are right, else what is wrong with them.

    Bytes of an earlier address may be the wrong ones, so that a file that was continued is fetched once more in full.
    Raises MirrorFailure.
    """
    while True:
        continued = _size(stream) > 0
        if _size(stream) > file.size:
            stream.truncate(0)
            continued = False
        wrong = _fetched(stream, file, address, timeout)
        if wrong is None:
            stream.seek(0)
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found == file.sha256:
                return None
            wrong = f"sha256 {found} instead of {file.sha256}"
        stream.truncate(0)
        if not continued:
            return wrong


def _fetched(stream: BufferedRandom, file: File, address: str, timeout: float) -> str | None:
    """Append what is missing, resuming where the connection is cut; return what is wrong with the answer, or None."""
    resumes = 0
    while (have := _size(stream)) < file.size or file.size == 0:
        try:
            with opened(address, have, timeout) as answer:
                if answer.total is not None and answer.total != file.size:
                    return f"{answer.total} bytes instead of {file.size}"
                if answer.start != have:
                    stream.truncate(0)  # the mirror knows no ranges
                stream.seek(0, os.SEEK_END)
                for chunk in answer.chunks:
                    stream.write(chunk)
                    if stream.tell() > file.size:
                        return f"more than {file.size} bytes"
                stream.flush()
            if _size(stream) == file.size:
                return None
            failure = MirrorFailure("the connection ended early", cut=True)
        except MirrorFailure as error:
            failure = error
        resumes += 1
        if not failure.cut or resumes > _RESUMES or _size(stream) <= have:
            raise failure
    return None


def _size(stream: BufferedRandom) -> int:
    stream.flush()
    return os.fstat(stream.fileno()).st_size
