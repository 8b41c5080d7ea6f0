"""The process that makes the result of one job: `python -m d4c_pipeline.services.jobs.worker ROOT RESULT ...`.

It is also the function that a run of Dagster calls. It writes the result beside its final name and moves it, so a kill
at any moment leaves a result that is complete or not there. Choosing results and ending workers belong to `queue`.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import orjson

from d4c_pipeline.files.disk import write_file
from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.files.scratch import put_in_place
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.services.jobs.folder import PROGRESS, JobFolder, Outcome, State
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.subset import Chosen, Engine, Sources, plan, read_request, write

MOST_ATTEMPTS = 3
MEMORY = "400MB"
"""What DuckDB may use for one result; Arrow's batches come on top."""
_PROGRESS_SECONDS = 0.5


def run(jobs: JobFolder, result: str, *, seconds: float, memory: str, most_cells: int) -> bool:
    """Make a result unless it is made, or another process makes it; return whether this call made it.

    A failure is an outcome of the result, not an error of this function; an error that is no D4CError is raised, and
    the next attempt follows until `MOST_ATTEMPTS`.
    """
    with jobs.locked(result) as mine:
        if not mine or jobs.outcome(result) is not None:
            return False
        if jobs.attempt(result) > MOST_ATTEMPTS:
            jobs.end(result, Outcome(time.time(), "The work on this job ended without a result three times"))
            return True
        try:
            outcome = _made(jobs, result, seconds, memory, most_cells)
        except (ProblemError, D4CError) as error:
            problem = error if isinstance(error, ProblemError) else ProblemError.of(error)
            outcome = Outcome(time.time(), problem.detail, problem.remedy)
        except FileNotFoundError:
            if jobs.state(result) is not State.DISMISSED:
                raise
            return False  # dismissed meanwhile
        jobs.end(result, outcome)
    return True


def _made(jobs: JobFolder, result: str, seconds: float, memory: str, most_cells: int) -> Outcome:
    folder = jobs.result_folder(result)
    stated = jobs.request(result) or {}
    facts = stated["release"]
    release = Chosen(**{**facts, "files": tuple(facts["files"]), "urls": tuple(facts["urls"])})
    spill, making = folder / "spill", folder / "making"
    shutil.rmtree(spill, ignore_errors=True)
    spill.mkdir()
    last = 0.0

    def progress(rows: int) -> None:
        nonlocal last
        if time.monotonic() - last > _PROGRESS_SECONDS and folder.is_dir():
            last = time.monotonic()
            write_file(folder / PROGRESS, orjson.dumps({"rows": rows}))

    try:
        with Engine(memory_limit=memory, spill=spill, seconds=seconds) as engine:
            source = Sources(engine).of(release.files, release.sha256)
            planned = plan(read_request(stated["inputs"]), release, source, most_cells=most_cells)
            rows, left_out = write(planned, engine, making, seconds=seconds, progress=progress)
    finally:
        shutil.rmtree(spill, ignore_errors=True)
    digests = hash_file(making)
    put_in_place(making, jobs.data(result))
    return Outcome(time.time(), rows=rows, left_out=left_out, size=digests.size, sha256=digests.sha256)


def main() -> None:
    """Make the result that the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("result")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--memory", required=True)
    parser.add_argument("--cells", type=int, required=True)
    given = parser.parse_args()
    run(JobFolder(given.root), given.result, seconds=given.seconds, memory=given.memory, most_cells=given.cells)


if __name__ == "__main__":
    main()
