"""The settings of services for machines: limits of requests, and jobs.

Which protocols are switched on belongs to `settings`. `services.protocols` and `services.jobs` apply these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import SecretStr

from d4c_pipeline.model.environment import EnvironmentSettings, OptionalPath, Parser, Positive, amount, variable
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.mail_server import mail_server

RUNNERS = ("server", "dagster")


def _runner(variable_name: str, text: str) -> str:
    if text.strip() not in RUNNERS:
        raise PermanentError(f"{variable_name} is '{text}'", f"Write one of {', '.join(RUNNERS)}")
    return text.strip()


def _bytes(variable_name: str, text: str) -> int:
    count = amount(text)
    if count is None:
        raise PermanentError(f"{variable_name} is '{text}'", "Write an amount such as 20GB or 512MiB")
    return count


_Bytes = Annotated[int, Parser(_bytes)]


class JobSettings(EnvironmentSettings):
    """Jobs of subsets that take longer than a request."""

    folder: OptionalPath = variable(
        "D4C_JOBS",
        "Folder of jobs and their results; servers behind one address share it.",
        unset="the folder `services/jobs` of the home",
    )
    runner: Annotated[str, Parser(_runner)] = variable(
        "D4C_JOBS_RUNNER",
        "Who makes results: `server` starts worker processes, `dagster` leaves them to the job `subsets`.",
        default="server",
    )
    at_once: Positive = variable("D4C_JOBS_AT_ONCE", "Worker processes of a server.", default=2)
    each: Positive = variable("D4C_JOBS_EACH", "Unfinished jobs that one user, or one address, may have.", default=3)
    days: Positive = variable("D4C_JOBS_DAYS", "Time that results are kept.", default=7, unit="days")
    seconds: Positive = variable("D4C_JOBS_SECONDS", "Time after which a job is ended.", default=1_800, unit="seconds")
    memory: _Bytes = variable(
        "D4C_JOBS_MEMORY", "Memory past which a worker process is ended.", default=2 << 30, unit="bytes"
    )
    disk: _Bytes = variable(
        "D4C_JOBS_BYTES", "Size of all results past which no job is accepted.", default=50 << 30, unit="bytes"
    )
    cells: Positive = variable(
        "D4C_SUBSET_CELLS", "Values (rows times columns) that a subset may read.", default=2_000_000_000
    )
    sync_cells: Positive = variable(
        "D4C_SUBSET_SYNC_CELLS", "Values up to which a subset is answered at once; a larger one is a job.",
        default=20_000_000,
    )  # fmt: skip
    mail: SecretStr | None = variable(
        "D4C_JOBS_MAIL",
        "Apprise address of the mail server that tells users of the end of their jobs, with `from` and without `to`; "
        "secret, never shown, never stored.",
    )
    mail_file: OptionalPath = variable("D4C_JOBS_MAIL_FILE", "A file that holds the address instead.")

    def mail_server(self) -> str | None:
        """Return the address of the mail server, declared secret for this process; None without one.

        Raises PermanentError for an unreadable file, and for an address that is no mail server.
        """
        return mail_server("D4C_JOBS_MAIL", self.mail, self.mail_file)

    def jobs_folder(self, home: Path) -> Path:
        """Return the folder of jobs of the services of `home`."""
        return self.folder or home / "services" / "jobs"
