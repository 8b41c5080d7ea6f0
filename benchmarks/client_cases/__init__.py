"""Cases of `benchmarks/clients.py`: what clients that nobody here wrote do with a server, a module for each protocol.

A case is a function of the server's address and the number of releases; it raises what it finds wrong, and returns a
sentence with its figures.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

Run = Callable[[str, int], str]


@dataclass(frozen=True)
class Case:
    """A client, an operation of it, and the function that runs it."""

    client: str
    operation: str
    run: Run


_CASES: list[Case] = []


def case(client: str, operation: str) -> Callable[[Run], Run]:
    """Register a function as a case."""

    def register(run: Run) -> Run:
        _CASES.append(Case(client, operation, run))
        return run

    return register


def all_cases() -> list[Case]:
    """Return the cases of all modules of this package, by client."""
    for module in sorted(each.name for each in pkgutil.iter_modules(__path__)):
        import_module(f"{__name__}.{module}")
    return sorted(_CASES, key=lambda each: each.client)
