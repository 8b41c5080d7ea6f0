"""The texts of submissions in both languages, from the YAML beside this module."""

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
