"""How densely a sweep over moments of death is sampled: CI tries some of them, `benchmarks/killed.py` each."""

from __future__ import annotations

import os


def stride(sampled: int) -> int:
    """Return the distance between the moments to try: `sampled`, or what D4C_TEST_EVERY says (1 for each)."""
    return int(os.environ.get("D4C_TEST_EVERY", sampled))
