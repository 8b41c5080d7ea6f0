"""Subsets that take longer than a request: files that survive every crash, and worker processes that make the results.

`folder` is the state on the disk, `queue` starts workers and cleans up, `worker` is the process, `notices` sends
webhooks. The address of jobs belongs to `protocols.processes`.

The state is files, not the ledger: services run read-only beside the store, on machines without a ledger. Servers that
share one folder (`D4C_JOBS`) share jobs and results; a lock of the system says who works, and ends with its process.
"""

from d4c_pipeline.services.jobs.folder import Job, JobFolder, Outcome, State
from d4c_pipeline.services.jobs.queue import JobQueue

__all__ = ["Job", "JobFolder", "JobQueue", "Outcome", "State"]
