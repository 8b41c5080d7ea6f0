"""The texts of submissions in both languages, from the YAML beside this module, and amounts of bytes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

Language = Literal["en", "fr"]


@cache
def words(language: Language) -> Mapping[str, Any]:
    """Return the texts of a language as nested mappings."""
    return yaml.safe_load(Path(__file__).with_name(f"{language}.yaml").read_text("utf-8"))


def amount(size: float, language: str = "en") -> str:
    """Return bytes as an amount: `12.3 MB`, in French `12,3 Mo`."""
    steps, unit = 0, "o" if language == "fr" else "B"
    while size >= 1000 and steps < 5:
        size, steps = size / 1000, steps + 1
    if not steps:
        return f"{size:.0f} {'octets' if language == 'fr' else 'bytes'}"
    text = f"{size:.1f} {'kMGTP'[steps - 1]}{unit}"
    return text.replace(".", ",") if language == "fr" else text
