"""The bundle: named by its content, and a site without one has style, theme and icon."""

from __future__ import annotations

from pathlib import Path

from d4c_pipeline.portal.bundle import MANIFEST, SOURCES, Bundle
from d4c_pipeline.portal.make_bundle import is_current, sources_digest


def test_without_a_bundle_the_sources_give_style_theme_and_icon(tmp_path: Path) -> None:
    bundle = Bundle.read(tmp_path / "missing")
    assert not bundle.is_built
    assert bundle.names.keys() == {"site.css", "theme.js", "icon.svg"}
    assert b"@import" not in bundle.plain[bundle.names["site.css"]]
    assert list(bundle.files) == []


def test_the_manifest_names_the_files(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"site.js": "site-ABC.js"}', "utf-8")
    (tmp_path / "site-ABC.js").write_text("", "utf-8")
    (tmp_path / SOURCES).write_text("x", "utf-8")
    bundle = Bundle.read(tmp_path)
    assert bundle.is_built
    assert [path.name for path in bundle.files] == ["site-ABC.js"]


def test_a_changed_source_makes_the_bundle_old(tmp_path: Path) -> None:
    web, bundle = tmp_path / "web", tmp_path / "bundle"
    (web / "node_modules").mkdir(parents=True)
    bundle.mkdir()
    (web / "a.js").write_text("1", "utf-8")
    (bundle / SOURCES).write_text(sources_digest(web), "utf-8")
    assert is_current(bundle, web)
    (web / "node_modules" / "x.js").write_text("2", "utf-8")
    assert is_current(bundle, web)
    (web / "a.js").rename(web / "b.js")
    assert not is_current(bundle, web)
