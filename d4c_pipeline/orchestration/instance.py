"""The embedded Dagster instance of a home: its folder, its settings, and the command that runs its UI.

Its settings file is a copy of `dagster.yaml` at the top of the repository (packaged with this room).
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.resources import files
from pathlib import Path

import dagster as dg
import yaml
from sqlalchemy.exc import DBAPIError

from d4c_pipeline.files.disk import write_file
from d4c_pipeline.ledger import database
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.model.settings import Settings

ADDED = ("freshness",)
"""Sections of `dagster.yaml` that homes of earlier versions lack. To turn one off, an operator writes so in it."""

# The UI keeps the state of sensors and schedules under this location name; workspace.yaml in the checkout has it too.
_WORKSPACE = "load_from:\n  - python_module: {module_name: d4c_pipeline.definitions, location_name: d4c_pipeline}\n"

# Seconds that the daemon waits between reading the newest event id and evaluating conditions. Without the wait, an
# event stored in between counts for two ticks, and the catalogue is rebuilt twice.
DAEMON_ENVIRONMENT = {"DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS": "1"}


def dagster_home(settings: Settings) -> Path:
    """Return the folder of the embedded instance; a new folder gets `dagster.yaml` and `workspace.yaml`.

    DAGSTER_HOME takes precedence, as in a container of docker-compose.yml: the UI of that instance shows the runs of
    this home. An operator's own changes to the copies stay; an older copy in the home gets the sections that were added
    since. Raises StorageError when the home can't be written.
    """
    named = os.environ.get("DAGSTER_HOME")
    home = Path(named).expanduser().absolute() if named else settings.home / "dagster"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "dagster.yaml").exists():
            shutil.copyfile(_settings_file(), home / "dagster.yaml")
        elif not named:
            _complete(home)
        if not (home / "workspace.yaml").exists():
            (home / "workspace.yaml").write_text(_WORKSPACE, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"Dagster's home {home} can't be written: {error.strerror}",
            "Choose another with DAGSTER_HOME" if named else "Choose another home with --home or D4C_HOME",
        ) from error
    return home


def missing_sections(text: str) -> tuple[str, ...]:
    """Return the sections of `ADDED` that the text of a `dagster.yaml` lacks."""
    return tuple(name for name in ADDED if re.search(rf"^{name}\s*:", text, re.MULTILINE) is None)


def _complete(home: Path) -> None:
    """Append the sections of `ADDED` that the home's `dagster.yaml` lacks, each with its comment.

    A file that is no block mapping stays as it is: `d4c doctor` reports what it lacks.
    """
    file = home / "dagster.yaml"
    if not missing_sections(file.read_text(encoding="utf-8")):
        return
    with _exclusive_opening(home):  # two commands at once would both append
        text = file.read_text(encoding="utf-8")
        shipped = _settings_file().read_text(encoding="utf-8")
        missing = missing_sections(text)
        blocks = [re.search(rf"(?:^#.*\n)*^{name}:.*\n(?:[ \t].*\n)*", shipped, re.MULTILINE) for name in missing]
        longer = "\n".join([text.rstrip("\n") + "\n", *(block.group() for block in blocks if block)])
        try:
            before, after = yaml.safe_load(text) or {}, yaml.safe_load(longer)
        except yaml.YAMLError:
            return
        if set(after) == {*before, *missing}:
            write_file(file, longer.encode())


@contextmanager
def embedded_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open the embedded instance, which the UI of the same home shows."""
    try:
        home = dagster_home(settings)
        with _exclusive_opening(home):
            # Dagster creates its tables on opening; two processes at once would both create them.
            instance = dg.DagsterInstance.from_config(str(home))
        with instance:
            yield instance
    except DBAPIError as error:
        # A full disk or a restarting server breaks Dagster's own databases first.
        explained = database.explained(error)
        if explained is None:
            raise
        raise explained from error


@contextmanager
def kept_open(instance: dg.DagsterInstance, run: str) -> Iterator[None]:
    """Hold a connection to each SQLite database that a run writes to; an instance on a server has none.

    Dagster opens and closes one for each event, 400 in a run. The last connection to close copies the log of the
    database into its file and syncs both, which triples the time of a write.
    """
    history = Path(instance.root_directory) / "history"
    with ExitStack() as held:
        for path in (history / "runs.db", history / "runs" / "index.db", history / "runs" / f"{run}.db"):
            if path.exists():
                connection = held.enter_context(closing(sqlite3.connect(path)))
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # joins the log
        yield


@contextmanager
def _exclusive_opening(home: Path) -> Iterator[None]:
    """Open the instance in one process at a time; the lock ends with its holder."""
    with (home / ".opening").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def system_user() -> str:
    """Return the system's name of the user that runs this process; the environment is not trusted."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run under a user id without a name
        return f"uid {os.getuid()}"


def ui_command(settings: Settings, port: int, *, read_only: bool = False) -> tuple[list[str], dict[str, str]]:
    """Return the command that runs the UI and the daemon of this home on the loopback, and its environment.

    A user of the UI acts as the system's user; `read_only` refuses every change.
    """
    home = dagster_home(settings)
    command = [sys.executable, "-m", "d4c_pipeline.orchestration.webserver", "dev", "-w", str(home / "workspace.yaml")]
    environment = {
        **DAEMON_ENVIRONMENT,
        **os.environ,
        "DAGSTER_HOME": str(home),
        "D4C_HOME": str(settings.home),
        "D4C_DEFS": os.pathsep.join(map(str, settings.definitions)),
        "D4C_UI_OPERATOR": "" if read_only else system_user(),
        # On the loopback no proxy signs users in.
        "D4C_UI_USER_HEADER": "",
        # `dg dev`, which it recommends instead, requires a project folder, and an installed package has none.
        "PYTHONWARNINGS": ",".join(filter(None, ["ignore:Function `dev_command`", os.environ.get("PYTHONWARNINGS")])),
    }
    return [*command, "-h", "127.0.0.1", "-p", str(port), "--log-format", settings.log], environment


def _settings_file() -> Path:
    packaged = Path(str(files("d4c_pipeline.orchestration") / "dagster.yaml"))
    if packaged.is_file():
        return packaged
    return Path(__file__).parent.parent.parent / "dagster.yaml"  # a checkout has the file at the top
