"""Write settings.md, the table of all settings, from the fields that declare them; `--check` only compares.

The variables of docker-compose.yml go with it: `.env.example` has each with its default and its description.
"""

from __future__ import annotations

import re
import sys
import textwrap
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
    "Access to the services": "See [Services](services.md#who-may).",
    "Subsets and jobs": "See [Services](services.md#subsets).",
    "Appraisal of submissions": "See [Appraisal](appraisal.md).",
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


_COMPOSE = Path(__file__).parent.parent / "docker-compose.yml"
EXAMPLE = _COMPOSE.with_name(".env.example")
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<operator>[-+])(?P<default>[^}]*))?\}")
_OF_COMPOSE = {
    "D4C_SECRETS": "The folder with one file per secret, readable for user id 8763.",
    "D4C_OWN_DEFS": "The folder of your own datasets.",
    "D4C_WORKERS": "Containers that execute runs.",
    "D4C_WORKER_SLOTS": "Runs at once in each of them.",
    "D4C_WORKER_MEMORY": "Memory of each of them, for all of its runs.",
    "D4C_STOP_GRACE": "The time that runs in progress have when a worker is stopped.",
    "D4C_POSTGRES_MEMORY": "Memory of PostgreSQL.",
    "D4C_CODE_MEMORY": "Memory of the code location.",
    "D4C_UI_MEMORY": "Memory of the webserver.",
    "D4C_SERVICES_MEMORY": "Memory of the server of the protocols.",
    "D4C_DAEMON_MEMORY": "Memory of the daemon.",
    "D4C_SEED_MEMORY": "Memory of the seeder.",
    "D4C_SEED_PORT": "The port of the seeder on this machine.",
    "D4C_UI_PORT": "The port of the UI on the loopback.",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "A collector of OpenTelemetry (OTLP over HTTP) that gets a span of every step.",
    "D4C_CADDY_SIGN_IN": "How people sign in to the UI: basic (secrets/users) or openid (D4C_OIDC_ISSUER).",
    "D4C_CADDY_GUESTS": "With openid: 1 shows the UI read-only to everybody, 0 to operators only.",
    "D4C_S3_MEMORY": "Memory of the S3 server (profile s3).",
    "D4C_S3_PORT": "The port of the S3 server on the loopback (profile s3).",
    "D4C_TRACKER_ADDRESS": "The address on which the tracker listens; 0.0.0.0 makes it public.",
}


def example() -> str:
    """Return the text of .env.example. Raises KeyError for a variable of docker-compose.yml without a description."""
    described = {row.variable: row.description for _, settings in GROUPS for row in documented(settings)} | _OF_COMPOSE
    parts = ["# Every variable of docker-compose.yml with its default, by docs/make_settings.py. Secrets are files.\n"]
    defaults: dict[str, str] = {}
    for found in _VARIABLE.finditer(_COMPOSE.read_text("utf-8")):
        if found["operator"] != "+":
            defaults.setdefault(found["name"], found["default"] or "")
    for name, default in defaults.items():
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", described[name]).replace("`", "")
        parts.append("\n".join([*(f"# {line}" for line in textwrap.wrap(words, 110)), f"#{name}={default}\n"]))
    return "\n".join(parts)


if __name__ == "__main__":
    made = {PAGE: page(), EXAMPLE: example()}
    if "--check" in sys.argv:
        stale = [file.name for file, text in made.items() if not file.exists() or file.read_text("utf-8") != text]
        sys.exit(f"{', '.join(stale)}: stale, run docs/make_settings.py" if stale else 0)
    for file, text in made.items():
        file.write_text(text, "utf-8")
