"""What all tests share: the folder of real data, found by `D4C_FIXTURES`."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import geopandas  # noqa: F401 - before processing leaves pandas out: tests read files with it
import hypothesis
import pytest

from d4c_pipeline_tests.support.commands import Zygote

# A busy machine is no failure: hangs are found by the time-out of each test.
hypothesis.settings.register_profile("d4c", deadline=None)
hypothesis.settings.load_profile("d4c")

# A background job of a shell ignores SIGINT, and what runs in Dagster treats SIGTERM as SIGINT is treated: whatever the
# tests start after that would ignore both, and never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What an operator has set must reach no test: it would publish into a real home.
for _name in [name for name in os.environ if name == "DAGSTER_HOME" or name.startswith("D4C_")]:
    if _name not in (
        "D4C_FIXTURES",
        "D4C_STANDARDS",
        "D4C_TEST_EVERY",
        "D4C_TEST_FAULTS",
        "D4C_TEST_LIVES",
        "D4C_TEST_PYTHONS",
        "D4C_INVENIO_URL",
        "D4C_INVENIO_TOKEN",
        "D4C_S3_URL",
        "D4C_S3_KEY",
        "D4C_S3_SECRET",
    ):
        del os.environ[_name]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name packed bytes by their argument: they may hold the hour, and xdist wants the same names everywhere."""
    return argname if isinstance(val, bytes) and (len(val) > 40 or not val.isascii()) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: with several workers, none is left alone with one at the end.

    How long is known of tests that declare a time-out of their own; else a file's number of tests stands for it.
    """
    weight = Counter[Path]()
    for item in items:
        declared = item.get_closest_marker("timeout")
        weight[item.path] += declared.args[0] if declared else 1
    items.sort(key=lambda item: -weight[item.path])


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of real Canadian data (see its MANIFEST.md); without it, the test is skipped and says so."""
    folder = os.environ.get("D4C_FIXTURES")
    if not folder:
        pytest.skip("D4C_FIXTURES is not set: the real data files are not part of this repository")
    return Path(folder)


@pytest.fixture(scope="session")
def s3_lane() -> tuple[str, str, str]:
    """Address, key and secret of a running S3 server; without one, the test is skipped and says so."""
    url = os.environ.get("D4C_S3_URL")
    if not url:
        pytest.skip("D4C_S3_URL is not set: no S3 server runs beside the tests")
    return url, os.environ["D4C_S3_KEY"], os.environ["D4C_S3_SECRET"]


@pytest.fixture(scope="session")
def invenio_lane() -> tuple[str, str]:
    """Address and token of a running InvenioRDM; without one, the test is skipped and says so."""
    url, token = os.environ.get("D4C_INVENIO_URL"), os.environ.get("D4C_INVENIO_TOKEN")
    if not url or not token:
        pytest.skip("D4C_INVENIO_URL and D4C_INVENIO_TOKEN are not set: no InvenioRDM runs beside the tests")
    return url, token


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """The process that forks into every `d4c` of this worker."""
    started = Zygote(tmp_path_factory.mktemp("zygote"))
    assert started.ready, started.close()
    yield started
    started.close()
