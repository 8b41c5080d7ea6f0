"""Errors that cross from the working process to the run: sent as JSON there, raised again here.

Our errors keep their type. Any other error is a bug there and is raised as a bug here.
"""

from __future__ import annotations

import traceback
from typing import Any

from d4c_pipeline.model import errors
from d4c_pipeline.model.errors import D4CError

_OURS = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, D4CError)
}  # fmt: skip


class BugInChildError(RuntimeError):
    """A bug in the working process, with its type, message and traceback."""


def encoded(error: BaseException) -> dict[str, Any]:
    """Return `error` as JSON-ready values."""
    ours = error if isinstance(error, D4CError) else errors.shortage(error)
    if ours is not None:
        kind = next(each.__name__ for each in type(ours).__mro__ if _OURS.get(each.__name__) is each)
        return {"kind": kind, "cause": ours.cause, "remedy": ours.remedy}
    return {
        "kind": type(error).__name__,
        "bug": " ".join(str(error).split()),
        "traceback": "".join(traceback.format_exception(error)),
    }


def decoded(message: Any) -> Exception:
    """Return the error that `encoded` encoded; any other form of `message` is a bug."""
    match message:
        case {"kind": str(kind), "cause": str(cause), "remedy": str(remedy)} if kind in _OURS:
            return _OURS[kind](cause, remedy)
        case {"kind": str(kind), "bug": str(bug), "traceback": str(trace)}:
            error = BugInChildError(f"{kind}: {bug}")
            error.add_note(trace)
            return error
        case _:
            return BugInChildError("the error of the working process is invalid")
