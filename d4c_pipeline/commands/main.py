"""The application `d4c`: its commands in the order of a day's work, and the exit after an error.

Each group of commands has its own module. Exit codes: 0 when the command is done, 1 for an error (one sentence with its
remedy), 2 for wrong usage.
"""

from __future__ import annotations

import typer

from d4c_pipeline.commands.alert import alert
from d4c_pipeline.commands.archive import archive_app
from d4c_pipeline.commands.backfill import backfill
from d4c_pipeline.commands.catalogue import catalogue_app
from d4c_pipeline.commands.changes import apply, changes
from d4c_pipeline.commands.check import check
from d4c_pipeline.commands.common import end_with
from d4c_pipeline.commands.doctor import doctor
from d4c_pipeline.commands.draft import draft
from d4c_pipeline.commands.failed import failed
from d4c_pipeline.commands.fixity import repair, verify
from d4c_pipeline.commands.notice import notice
from d4c_pipeline.commands.pausing import pause, resume
from d4c_pipeline.commands.plan import plan
from d4c_pipeline.commands.portal import portal_app
from d4c_pipeline.commands.publish import demo, publish
from d4c_pipeline.commands.rebuild import rebuild
from d4c_pipeline.commands.recovery import backup, reconcile, restore
from d4c_pipeline.commands.reports import datasets, releases, settings, status
from d4c_pipeline.commands.retention import prune
from d4c_pipeline.commands.review import review_app
from d4c_pipeline.commands.seed import keys, seed, torrents_app
from d4c_pipeline.commands.servers import serve, ui
from d4c_pipeline.commands.submissions import submissions_app, submit
from d4c_pipeline.commands.todo import todo
from d4c_pipeline.commands.vocabulary import vocabulary_app
from d4c_pipeline.commands.withdrawal import reinstate, withdraw
from d4c_pipeline.model.errors import D4CError, shortage

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Publish open data: versioned, citable, kept in several places.",
)
# The order of a day's work, also of the panels in `d4c --help`.
for _panel, _commands in (
    ("Take in", (submit, ("submissions", submissions_app), draft, check, ("vocabulary", vocabulary_app))),
    ("Publish", (demo, notice, plan, publish, backfill, ("review", review_app), failed, pause, resume, todo, alert)),
    ("Look", (datasets, status, releases, ("catalogue", catalogue_app), changes, apply, rebuild, settings)),
    ("Upkeep", (doctor, verify, repair, prune, ("archive", archive_app), ("torrents", torrents_app), keys)),
    ("Recover", (backup, restore, reconcile)),
    ("Correct", (withdraw, reinstate)),
    ("Serve", (serve, ("portal", portal_app), seed, ui)),
):
    for _command in _commands:
        if isinstance(_command, tuple):
            app.add_typer(_command[1], name=_command[0], rich_help_panel=_panel)
        else:
            app.command(rich_help_panel=_panel)(_command)


def main() -> None:
    """Run the command line; an error becomes one sentence on stderr and exit code 1."""
    try:
        app()
    except D4CError as error:
        end_with(error, error.sentence("run 'd4c publish' for that vintage again"))
    except Exception as error:  # noqa: BLE001 - the process ends here: a bug is reported as one, with the way to its traceback
        from d4c_pipeline.ledger import database

        if (explained := database.explained(error) or shortage(error)) is not None:
            end_with(error, f"{explained}")
        cause = f"{type(error).__name__}: {error}".rstrip(".")
        end_with(error, f"A bug stopped this ({cause}). Run it again with --debug for the traceback, and report it.")


if __name__ == "__main__":
    main()
