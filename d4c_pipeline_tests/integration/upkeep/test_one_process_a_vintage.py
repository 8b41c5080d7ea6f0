"""All work on a vintage takes one lease: while another process holds it, each way raises BusyError."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.archives.deposit import reserve
from d4c_pipeline.chain.doi import metadata_of
from d4c_pipeline.ledger.leases import Lease, Leases
from d4c_pipeline.model.errors import BusyError
from d4c_pipeline.model.release import Release
from d4c_pipeline.model.version import Bump
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.review.decisions import approve, reject
from d4c_pipeline.upkeep import recovery
from d4c_pipeline.upkeep.reissue import reissue
from d4c_pipeline.workspace.staging import sweep
from d4c_pipeline_tests.integration.chain.conftest import Chain, chain, definitions

__all__ = ["chain", "definitions"]  # fixtures, found by their names here

_HOLDER = """
import sys
from pathlib import Path
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.ledger.ledger import Ledger

with Ledger.in_folder(Path(sys.argv[1])).leases.hold(lease_keys.of_vintage("places", "2021")):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(home: Path) -> Iterator[None]:
    """Another process holds the lease on places 2021 inside the block."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        yield
    finally:
        holder.communicate(timeout=30)
    assert holder.returncode == 0


def start_work(chain: Chain) -> None:
    with chain.opened.working_on(chain.dataset, Vintage.parse("2021")):
        pass


def reserve_doi(chain: Chain, release: Release) -> None:
    metadata = metadata_of(chain.opened, chain.dataset, release)
    reserve(chain.opened.ledger, chain.opened.archive, release, metadata)


WAYS: dict[str, Callable[[Chain, Release], object]] = {
    "a step of the chain": lambda chain, _: start_work(chain),
    "a DOI": reserve_doi,
    "an approval": lambda chain, release: approve(chain.opened, release, who="ana"),
    "a rejection": lambda chain, release: reject(chain.opened, release, who="ana", reason="wrong year"),
    "a reissued torrent": lambda chain, _: reissue(chain.opened),
    "an adoption": lambda chain, _: recovery.adopt(chain.opened, chain.dataset),
    "a decision on a draft": lambda chain, release: recovery.decide(chain.opened, release, "ours"),
    "a restart of a draft": lambda chain, release: recovery.restart(chain.opened, release),
}


def test_no_two_processes_work_on_a_vintage(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = Leases.hold

    @contextmanager
    def briefly(self: Leases, key: str, *, wait: float = 0.0, **options: Any) -> Generator[Lease]:
        with hold(self, key, wait=min(wait, 0.1), **options) as lease:
            yield lease

    chain.run()
    staged = chain.home / "staging" / "places" / "2021" / "retained" / "left.geojson"
    staged.parent.mkdir(parents=True, exist_ok=True)
    staged.write_text("{}")
    with another_process(chain.home):
        sweep(chain.opened, "places", Vintage.parse("2021"))
        assert staged.exists()
    sweep(chain.opened, "places", Vintage.parse("2021"))
    assert not staged.exists()

    chain.run_up_to("processed")
    planned = chain.plan(Bump.PATCH).release
    monkeypatch.setattr(Leases, "hold", briefly)
    with another_process(chain.home):
        for name, work in WAYS.items():
            with pytest.raises(BusyError) as caught:
                work(chain, planned)
            assert caught.value.cause == "Another process works on places/2021", name
    ledger = chain.opened.ledger
    assert ledger.deposits.of(planned) is None
    assert ledger.judgements.reviews(planned) == ()
    assert ledger.releases.get(planned.id).state is planned.state
    start_work(chain)
