"""The bundle as the pages use it: names with content hashes by plain names. Building it belongs to `make_bundle`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BUNDLE = Path(__file__).parent / "bundle"
MANIFEST, SOURCES = "manifest.json", "sources.sha256"
_WEB = Path(__file__).parent / "web"
# Without a bundle: the style sheets one after another (the font is not among them), the theme, the icon.
_STYLES = ("base", "home", "lists", "release", "explore", "narrow")


@dataclass(frozen=True)
class Bundle:
    """The built scripts, style sheets, font and base map. `names`: plain name -> name with the content's hash.

    Where none was built, pages have style sheet, theme and icon from the sources, and neither map, table nor search.
    """

    folder: Path
    names: Mapping[str, str]
    plain: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)

    @classmethod
    def read(cls, folder: Path = BUNDLE, sources: Path = _WEB) -> Bundle:
        """Return the bundle in `folder`; where none was built, what the sources give without any tool."""
        manifest = folder / MANIFEST
        if manifest.is_file():
            return cls(folder, json.loads(manifest.read_text("utf-8")))
        plain = {
            "site.css": b"".join((sources / "src" / "styles" / f"{name}.css").read_bytes() for name in _STYLES),
            "theme.js": (sources / "src" / "theme.js").read_bytes(),
            "icon.svg": (sources / "icon.svg").read_bytes(),
        }
        names = {name: _hashed(name, content) for name, content in plain.items()}
        return cls(folder, names, {names[name]: content for name, content in plain.items()})

    @property
    def is_built(self) -> bool:
        """Whether the bundle has scripts: map, table and search."""
        return not self.plain

    @property
    def files(self) -> Iterator[Path]:
        """Every file that pages or scripts load, and the licences."""
        if self.is_built:
            for path in sorted(self.folder.iterdir()):
                if path.name not in (MANIFEST, SOURCES):
                    yield path


def icon() -> bytes:
    """Return the icon of the portal as SVG."""
    return (_WEB / "icon.svg").read_bytes()


def _hashed(name: str, content: bytes) -> str:
    stem, _, suffix = name.rpartition(".")
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:8]}.{suffix}"
