"""The error tree: failures by their remedy.

Every error that a person may see has a sentence of cause and a sentence of remedy. Each of the three branches has its
own remedy: a retry (`TransientError`), a change (`PermanentError`), a person's decision (`NeedsPersonError`). Mapping a
protocol's status codes to this tree belongs to the room of the protocol.
"""

from __future__ import annotations

import errno

from d4c_pipeline.model.secrets import sanitise

_LONGEST = 10_000  # characters


class D4CError(Exception):
    """An explained failure: its `cause` and its `remedy`.

    `rerun` is the step of the chain to run again after the remedy. The UI and the command line run a step in different
    ways, so each of them words that part (`worded`).
    """

    def __init__(self, cause: str, remedy: str = "", *, rerun: str = "") -> None:
        self.cause = _shortened(cause).strip().rstrip(".")
        self._advice = _shortened(remedy).strip().rstrip(".")
        self.rerun = rerun
        self.remedy = self.worded("run the step '{step}'")
        super().__init__(self.cause, self.remedy)

    def worded(self, instruction: str) -> str:
        """Return the remedy with `instruction` for the step to run again, whose name replaces `{step}`."""
        then = instruction.format(step=self.rerun) if self.rerun else ""
        if self._advice and then:
            return f"{self._advice}, then {then}"
        return self._advice or f"{then[:1].upper()}{then[1:]}"

    def sentence(self, instruction: str) -> str:
        """Return cause and remedy, with `instruction` as in `worded`."""
        remedy = self.worded(instruction)
        return f"{self.cause}. {remedy}." if remedy else f"{self.cause}."

    def __str__(self) -> str:
        return f"{self.cause}. {self.remedy}." if self.remedy else f"{self.cause}."


def _shortened(text: str) -> str:
    # A name from foreign bytes may have megabytes, and searching it for secrets takes a minute. The second cut
    # removes any secret that the first cut split.
    return sanitise(text) if len(text) <= _LONGEST else f"{sanitise(text[: 2 * _LONGEST])[:_LONGEST]}..."


class TransientError(D4CError):
    """The other side or the network failed; a retry may succeed."""


class PermanentError(D4CError):
    """A retry fails again: the input, the request or the definition must change."""


class NeedsPersonError(D4CError):
    """A person has to decide (full disk, refused access, ambiguous record)."""


class DefinitionError(PermanentError):
    """A dataset's YAML is wrong. The message names file, line and field."""


class UnknownNameError(PermanentError):
    """The requested dataset, vintage or release does not exist."""


class SourceError(PermanentError):
    """The source's delivery differs from the declaration (404, an HTML page, a truncated or foreign file)."""


class DataError(PermanentError):
    """The native data can't be processed as declared (no CRS, no such layer, broken file, failing SQL)."""


class AwaitingReviewError(NeedsPersonError):
    """A complete and verified release has a pending review; this is not a failure."""


class IntegrityError(NeedsPersonError):
    """Bytes differ from what the ledger recorded, or an immutable address already holds other bytes."""


class StorageError(NeedsPersonError):
    """A disk is full, read-only or refuses access."""


class BusyError(TransientError):
    """Another process holds the lease on the same work."""


class OverdueError(TransientError):
    """The work exceeded its deadline."""


_SCARCE = {
    errno.ENOMEM: ("memory", "Raise the limit of memory (ulimit -v, that of the container) or lower D4C_MEMORY_LIMIT"),
    errno.EAGAIN: ("processes or threads", "Raise their limit (ulimit -u, that of the container) or run less at once"),
    errno.EMFILE: ("open files", "Raise their limit (ulimit -n) or run less at once"),
    errno.ENFILE: ("open files on this machine", "Raise fs.file-max or run less at once"),
}


def shortage(error: BaseException) -> TransientError | None:
    """Return the error for a system that has no memory, thread or file for this process; None for other errors.

    The shortage is transient: it ends when fewer processes run at once.
    """
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError):
        number = errno.ENOMEM
    elif isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        number = errno.EAGAIN
    if number not in _SCARCE:
        return None
    what, remedy = _SCARCE[number]
    return TransientError(f"The system gave this process no more {what}: {error or type(error).__name__}", remedy)
