"""Write settings.md, the table of all settings, from the fields that declare them; `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from d4c_pipeline.model.settings_table import GROUPS, documented

PAGE = Path(__file__).with_name("settings.md")
_OPENING = """\
# Settings

Each setting is one environment variable. A command or a step reads it when it starts; an empty variable is unset.
`d4c settings` prints the present values, `d4c settings --json` prints them for machines. An amount is written as `64GB`
or `512MiB`, a switch as `1` or `0`. [Operations](operations.md) describes the work that they control.

This page is written by `docs/make_settings.py` from the fields in `d4c_pipeline/model/`: change a description there.
"""
_REMARKS = {
    "Limits on foreign files": "A file beyond one of these is refused, by a message that names the setting, before it "
    "fills the disk or the memory. The\ndefaults leave room for the largest tables of Statistics Canada (about 20 GB, "
    "packed 40 times).",
    "Seeder": "See [Torrents](torrents.md).",
    "Alerts": "See [Operations](operations.md#alerts).",
    "Access to the UI": "See [Operations](operations.md#who-may-use-the-ui).",
}


def page() -> str:
    """Return the text of settings.md."""
    parts = [_OPENING]
    for title, settings in GROUPS:
        remark = f"{_REMARKS[title]}\n\n" if title in _REMARKS else ""
        rows = "".join(
            f"| `{row.variable}` | {_default(row.default)} | {row.unit} | {row.description} |\n"
            for row in documented(settings)
        )
        parts.append(
            f"## {title}\n\n{remark}| variable | default | unit | description |\n| --- | --- | --- | --- |\n{rows}"
        )
    return "\n".join(parts)


def _default(text: str) -> str:
    # A sentence about the default is no value to copy.
    return f"`{text}`" if text and " " not in text.replace(" GiB", "").replace(" MiB", "") and "`" not in text else text


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit("settings.md is stale: run docs/make_settings.py" if PAGE.read_text("utf-8") != page() else 0)
    PAGE.write_text(page(), "utf-8")
