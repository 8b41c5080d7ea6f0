"""Writes an edited definition into its file and commits it with git, as the person who edited it.

The text lies in a journal in the home before the file is touched, and until it is committed: after a crash `resume`
goes on. Git is the git command, as for the provenance of builds. Editing texts belongs to `editing`.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from d4c_pipeline.files.disk import storage_errors, write_file
from d4c_pipeline.ledger import Ledger, lease_keys
from d4c_pipeline.model.errors import PermanentError

_SECONDS = 60  # of a git command; hooks of the operator run too
_MOST_MESSAGE = 2_000  # characters


class ChangedMeanwhileError(PermanentError):
    """The file is not the one that the person saw."""


@dataclass(frozen=True)
class Author:
    """The person who edited: a name, and an address of mail if it is known."""

    name: str
    email: str | None = None

    def for_git(self) -> tuple[str, str]:
        """Return name and address without what git refuses or would read as their end."""
        name = re.sub(r"[\s\x00-\x1f\x7f<>]+", " ", self.name).strip(" .,;:'\"") or "unknown"
        return name[:200], re.sub(r"[\x00-\x20\x7f<>]+", "", self.email or "")[:200]


@dataclass(frozen=True)
class _Begun:
    """A journal: the text that is to be committed, and the digest of the file that it replaces."""

    file: str
    seen: str
    text: str
    name: str
    email: str
    message: str


def digest(text: str) -> str:
    """Return the sha256 (hex) of a text, which tells whether a file changed since it was shown."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_definition(file: Path) -> str:
    """Return the text of a file with its line ends. Raises PermanentError if it can't be read."""
    try:
        return file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"{file.name} can't be read: {error}", "Save it as UTF-8 text") from error


def commit(
    ledger: Ledger, home: Path, file: Path, seen: str, text: str, author: Author, message: str,
    *, without_git: bool = False,
) -> str | None:  # fmt: skip
    """Write `text` into `file` and commit it; return the commit, None in a folder without git.

    `seen`: the digest of the text that the author edited. `without_git`: the operator allows folders that are no git
    repository. Raises ChangedMeanwhileError if the file has another text, PermanentError if it has changes that are not
    committed, if the folder is no repository, or if git refuses (the file is then as before), BusyError while another
    process commits the same file.
    """
    with ledger.leases.hold(lease_keys.of_definition(file.parent.name), wait=10):
        _resume(home, file)
        current = read_definition(file)
        if digest(current) != seen:
            raise ChangedMeanwhileError(f"{file.parent.name} changed since it was shown", "Look at the difference")
        root = _repository(file.parent)
        if root is None and not without_git:
            raise PermanentError(
                f"The folder of {file.parent.name} is no git repository, so nobody could see who changed what",
                "Ask the operator for a repository (git init), or for D4C_METADATA_WITHOUT_GIT=1",
            )
        if root is not None and (changes := _git(root, "status", "--porcelain", "--", str(file))):
            untracked = changes.startswith("??")
            raise PermanentError(
                f"The file of {file.parent.name} {'is not in git' if untracked else 'has changes without a commit'}",
                "Ask the person who works on it to commit it",
            )
        if text == current:
            raise PermanentError("Nothing is changed", "Change a field, then commit")
        name, email = author.for_git()
        begun = _Begun(str(file), seen, text, name, email, _message(message, file))
        write_file(_journal(home, file), orjson.dumps(asdict(begun)))
        return _finish(home, file, root, begun, current)


def resume(ledger: Ledger, home: Path, file: Path) -> str | None:
    """Finish the commit of `file` that a killed process left; return the commit, None if there was nothing to do.

    Raises PermanentError if git refuses, BusyError while another process commits the file.
    """
    if not _journal(home, file).exists():
        return None
    with ledger.leases.hold(lease_keys.of_definition(file.parent.name), wait=10):
        return _resume(home, file)


def _resume(home: Path, file: Path) -> str | None:
    journal = _journal(home, file)
    try:
        begun = _Begun(**orjson.loads(journal.read_bytes()))
    except FileNotFoundError:
        return None
    current = read_definition(file)
    if digest(current) not in (begun.seen, digest(begun.text)):
        # Somebody else wrote the file after the crash. The text stays beside the journal for a person to compare.
        with storage_errors(f"write in {journal.parent}"):
            journal.replace(journal.with_suffix(".overtaken.json"))
        return None
    root = _repository(file.parent)
    is_written = digest(current) == digest(begun.text)
    if root is not None and is_written and not _git(root, "status", "--porcelain", "--", str(file)):
        journal.unlink()  # it was committed, and the process ended before it removed the journal
        return _git(root, "rev-parse", "HEAD")
    before = current if digest(current) == begun.seen else None
    return _finish(home, file, root, begun, before)


def _finish(home: Path, file: Path, root: Path | None, begun: _Begun, before: str | None) -> str | None:
    mode = file.stat().st_mode & 0o777
    write_file(file, begun.text.encode())
    file.chmod(mode)
    found = None
    if root is not None:
        who = {"GIT_AUTHOR_NAME": begun.name, "GIT_AUTHOR_EMAIL": begun.email}
        who |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in who.items()}
        try:
            _git(root, "commit", "--quiet", "--only", f"--message={begun.message}", "--", str(file), environment=who)
            found = _git(root, "rev-parse", "HEAD")
        except PermanentError:
            if before is not None:
                write_file(file, before.encode())
                file.chmod(mode)
                _journal(home, file).unlink()
            raise
    _journal(home, file).unlink()
    return found


def _journal(home: Path, file: Path) -> Path:
    return home / "definitions" / f"{file.parent.name}-{hashlib.sha256(str(file).encode()).hexdigest()[:12]}.json"


def _message(text: str, file: Path) -> str:
    plain = re.sub(r"[\x00-\x09\x0b-\x1f\x7f]+", " ", text).strip()[:_MOST_MESSAGE]
    # A line that begins with '#' is kept: the message is no template.
    return plain or f"{file.parent.name}: metadata edited"


def _repository(folder: Path) -> Path | None:
    """Return the top of the working tree that `folder` lies in, None without one."""
    try:
        return Path(_git(folder, "rev-parse", "--show-toplevel"))
    except PermanentError as error:
        if "not a git repository" in error.cause:
            return None
        raise


def _git(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """Return what a git command prints. Raises PermanentError with what it says when it fails."""
    # A hook or an outer git may have named another repository.
    around = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    own = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_LITERAL_PATHSPECS": "1", **(environment or {})}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, text=True, check=False, timeout=_SECONDS, env=around | own, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise PermanentError("The program git is not installed", "Install git on the server") from error
    except subprocess.TimeoutExpired as error:
        raise PermanentError(f"git {arguments[0]} took more than {_SECONDS} s", "Try again") from error
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[:500]
        raise PermanentError(f"git {arguments[0]} failed: {said}", "Correct what git says, then commit again")
    return done.stdout.strip()
