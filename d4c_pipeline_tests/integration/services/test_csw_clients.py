"""OWSLib speaks CSW with the services: the cases of `benchmarks/clients.py`, on the catalogue of the tests."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def test_owslib_passes_every_case_in_both_versions(services_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import_module("client_cases.csw")
    cases = [each for each in import_module("client_cases")._CASES if each.client.startswith("OWSLib, CSW")]
    results = {f"{each.client}: {each.operation}": each.run(services_url, 60) for each in cases}
    assert len(results) == 23
    assert results["OWSLib, CSW 2.0.2: GetRecords by box"] == "59 in Canada, 0 in Australia"
    assert results["OWSLib, CSW 3.0.0: GetRecords by And, Or, Not"] == "20 and 39"
