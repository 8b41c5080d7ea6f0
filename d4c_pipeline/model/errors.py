"""The error tree: what a failure means for whoever has to act on it.

Every error that a person may see is one sentence of cause and one of remedy. The three branches say what helps:
trying again (`TransientError`), changing something (`PermanentError`), or asking a person (`NeedsPersonError`).
Mapping a protocol's status codes onto this tree belongs to the room that speaks the protocol.
"""

from __future__ import annotations

import errno

from d4c_pipeline.model.secrets import sanitise

_LONGEST = 10_000  # characters


class D4CError(Exception):
    """A failure that is explained: `cause` says what is wrong, `remedy` what to do about it.

    `rerun` names the step of the chain that has to run again after what the remedy says. How a step is run differs
    between the UI and the command line, so each front door words that part (`worded`).
    """

    def __init__(self, cause: str, remedy: str = "", *, rerun: str = "") -> None:
        self.cause = _shortened(cause).strip().rstrip(".")
        self._advice = _shortened(remedy).strip().rstrip(".")
        self.rerun = rerun
        self.remedy = self.worded("run the step '{step}'")
        super().__init__(self.cause, self.remedy)

    def worded(self, instruction: str) -> str:
        """Return the remedy with `instruction` for the step that has to run again, whose name replaces `{step}`."""
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
    # Foreign bytes may give a name of megabytes, which nobody reads and which takes a minute to search for secrets. A
    # secret that the first cut goes through is behind the second.
    return sanitise(text) if len(text) <= _LONGEST else f"{sanitise(text[: 2 * _LONGEST])[:_LONGEST]}..."


class TransientError(D4CError):
    """The other side or the network failed; the same call may succeed later."""


class PermanentError(D4CError):
    """Trying again changes nothing: the input, the request or the definition must change."""


class NeedsPersonError(D4CError):
    """Neither time nor code can decide: a person has to look (full disk, refused access, ambiguous record)."""


class DefinitionError(PermanentError):
    """A dataset's YAML is wrong. The message names file, line and field."""


class UnknownNameError(PermanentError):
    """A dataset, vintage or release that is asked for does not exist."""


class SourceError(PermanentError):
    """What the source delivered is not what was declared (404, an HTML page, a truncated or foreign file)."""


class DataError(PermanentError):
    """The native data can't be processed as declared (no CRS, no such layer, broken file, failing SQL)."""


class AwaitingReviewError(NeedsPersonError):
    """A release is complete and verified, and waits for a person to approve its publication: nothing went wrong."""


class IntegrityError(NeedsPersonError):
    """Bytes differ from what the ledger recorded, or an immutable address already holds other bytes."""


class StorageError(NeedsPersonError):
    """A disk is full, read-only or refuses access."""


class BusyError(TransientError):
    """Another process holds the lease on the same work."""


_SCARCE = {
    errno.ENOMEM: ("memory", "Raise the limit of memory (ulimit -v, that of the container) or lower D4C_MEMORY_LIMIT"),
    errno.EAGAIN: ("processes or threads", "Raise their limit (ulimit -u, that of the container) or run less at once"),
    errno.EMFILE: ("open files", "Raise their limit (ulimit -n) or run less at once"),
    errno.ENFILE: ("open files on this machine", "Raise fs.file-max or run less at once"),
}


def shortage(error: BaseException) -> TransientError | None:
    """Return what it means that this process got no memory, thread or file from the system now; None for other errors.

    That is neither a bug nor a matter of the disk, and passes when less runs at once.
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
