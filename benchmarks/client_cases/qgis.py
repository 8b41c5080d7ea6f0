"""QGIS's MetaSearch, driven by its own dialog without a screen. No cases where QGIS is not installed.

Debian: `apt install --no-install-recommends python3-qgis qgis-common python3-owslib`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from client_cases import Run, case

_DRIVER = Path(__file__).parent / "drivers" / "metasearch.py"
_PYTHON = "/usr/bin/python3"  # QGIS's bindings are those of the system's Python
_PLUGINS = Path("/usr/share/qgis/python/plugins")


@cache
def _seen(url: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(_PLUGINS), "QT_QPA_PLATFORM": "offscreen"}
    command = [_PYTHON, _DRIVER, f"{url}/csw"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr[-200:]
    return json.loads(ended.stdout)


def _count(text: str) -> int:
    found = re.search(r"(\d+) result", text)
    assert found is not None, text
    return int(found[1])


def _connects(url: str, _releases: int) -> str:
    seen = _seen(url)
    assert seen["warnings"] == [], seen["warnings"]
    assert "Title Data for Canada: catalogue of releases" in seen["service"], seen["service"]
    return f"QGIS {seen['qgis']}: the page of the service, no warning"


def _searches(url: str, _releases: int) -> str:
    counts = {words: _count(text) for words, text in _seen(url)["words"].items()}
    assert counts["territories"] == counts["territoires"] > 0, counts
    assert counts["nothing-of-this"] == 0, counts
    return ", ".join(f"{words} {count:,}" for words, count in counts.items())


def _boxes(url: str, releases: int) -> str:
    seen = _seen(url)
    counts = {place: _count(text) for place, text in seen["boxes"].items()}
    assert (counts["Canada"], counts["Australia"]) == (releases - 1, 0), counts
    assert counts["both"] == _count(seen["words"]["territoires"]), counts
    return ", ".join(f"{place} {count:,}" for place, count in counts.items())


def _pages(url: str, releases: int) -> str:
    seen = _seen(url)
    last = releases - 1
    spans = [f"Showing {first} - {first + 9} of {last} result(s)" for first in (1, 11, last - 9)]
    assert seen["pages"] == spans, seen["pages"]
    return "; ".join(spans)


def _shows(url: str, _releases: int) -> str:
    seen = _seen(url)
    footprint, page = seen["record"]
    assert re.fullmatch(r"-\d+\.\d+,\d+\.\d+ : -\d+\.\d+,\d+\.\d+", footprint), footprint
    assert "Identifier urn:d4c:" in page, page
    return f"footprint {footprint}"


_CASES: dict[str, Run] = {
    "connection": _connects,
    "search by words in both languages": _searches,
    "search by box, and box with words": _boxes,
    "next and last page": _pages,
    "a record, with its footprint on the map": _shows,
}
if (_PLUGINS / "MetaSearch").is_dir():
    for _operation, _run in _CASES.items():
        case("QGIS MetaSearch, CSW 2.0.2", _operation)(_run)
