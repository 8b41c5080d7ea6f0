"""Each check with a file that passes and one that fails, thresholds at their edges, and a check that can't run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from d4c_pipeline.model.checks import Checks
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.model.release import Column, DataSummary
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.checks import conformance, declared, positions, previous, readers, spatial, text_columns
from d4c_pipeline.processing.checks.attributes import Attributes
from d4c_pipeline.processing.checks.run import Check
from d4c_pipeline.processing.checks.verdict import Built, Outcome, PreviousFacts, Verdict
from d4c_pipeline_tests.support.declarations import a_dataset

PASS, WARNING, FAILURE = Outcome.PASS, Outcome.WARNING, Outcome.FAILURE
OTTAWA = (-75.70, 45.40, -75.60, 45.50)
Make = Callable[..., Built]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a table or features as a build would leave them; `summary` replaces what the build said of them."""

    def made(
        content: pa.Table | geopandas.GeoDataFrame,
        *,
        checks: dict[str, Any] | None = None,
        extent: dict[str, float] | None = None,
        before: PreviousFacts | None = None,
        summary: dict[str, Any] | None = None,
        profiled: int | None = None,
        compression: str = "zstd",
        **processing: Any,
    ) -> Built:
        data, features = tmp_path / "data.parquet", isinstance(content, geopandas.GeoDataFrame)
        if features:
            content.to_parquet(data, write_covering_bbox=True, compression=compression, index=False)
        else:
            pq.write_table(content, data, compression=compression)
        bounds = tuple(map(float, content.total_bounds)) if features else None
        known = DataSummary(
            rows=len(content),
            columns=tuple(Column(f.name, str(f.type)) for f in pq.read_schema(data) if f.name != "bbox"),
            key=tuple(processing.get("key", ())),
            crs="EPSG:4326" if features else None,
            bounds=(bounds[0], bounds[1], bounds[2], bounds[3]) if bounds else None,
            geometry_types=tuple(sorted(set(content.geom_type.dropna()))) if features else (),
            report={},
        )
        profile = tmp_path / "profile.json"
        profile.write_text(json.dumps({"rows": len(content) if profiled is None else profiled}), "utf-8")
        dataset = a_dataset(
            processing={"kind": "vector" if features else "table", **processing}, checks=checks or {}, extent=extent
        )
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        return Built((data,), profile, replace(known, **(summary or {})), dataset, Vintage.parse("2021"), before, work)

    return made


def features(*geometries: shapely.Geometry | None, **columns: list[Any]) -> geopandas.GeoDataFrame:
    named = columns or {"id": list(range(1, len(geometries) + 1))}
    return geopandas.GeoDataFrame(named, geometry=list(geometries), crs="EPSG:4326")


SQUARE = shapely.orient_polygons(shapely.box(*OTTAWA), exterior_cw=False)
BOW_TIE = shapely.Polygon([(-75.7, 45.4), (-75.6, 45.5), (-75.6, 45.4), (-75.7, 45.5)])
PLACES = pa.table({"id": [1, 2, 3], "name": ["Québec", "Trois-Rivières", None]})


def test_outcomes_are_ordered() -> None:
    assert max(PASS, FAILURE, WARNING) is FAILURE
    assert [outcome.word for outcome in sorted(Outcome)] == ["pass", "warning", "failure"]


def test_schema(make: Make) -> None:
    built = make(PLACES, key=["id"], columns={"name": {"type": "string"}})
    assert declared.schema_as_declared("s", built).outcome is PASS

    verdict = declared.schema_as_declared("s", make(PLACES, key=["code"], columns={"name": {"type": "date"}}))
    assert verdict.outcome is FAILURE
    assert verdict.examples == [
        {"column": "name", "expected": "date (date32[day])", "actual": "string"},
        {"column": "code", "expected": "declared under processing.key", "actual": "missing"},
    ]
    columns = (Column("id", "int8"), Column("name", "string"), Column("gone", "string"))
    verdict = declared.schema_as_declared("s", make(PLACES, summary={"columns": columns}))
    assert [(e["column"], e["actual"]) for e in verdict.examples] == [("id", "int64"), ("gone", "missing")]
    verdict = declared.schema_as_declared("s", make(PLACES, summary={"rows": 4}, profiled=2))
    assert [e["expected"] for e in verdict.examples] == ["4 rows by the build's summary", "2 rows by the profile"]
    assert verdict.examples[0]["actual"] == "3 rows"


def test_keys(make: Make) -> None:
    assert declared.keys_identify_rows("k", make(PLACES, key=["id"])).outcome is PASS
    table = pa.table({"a": [1, 1, 2, None], "b": ["x", "x", "y", "z"]})
    verdict = declared.keys_identify_rows("k", make(table, key=["a", "b"]))
    assert (verdict.outcome, verdict.expected) == (FAILURE, "no null and no duplicate in a, b")
    assert verdict.actual == "1 rows with a null key, 1 duplicate key"
    assert verdict.examples == [{"a": "1", "b": "x", "rows": 2}, {"a": None, "b": "z", "rows": 1}]
    # What the build counted in the same file is not counted again.
    told = make(PLACES, key=["id"], summary={"report": {"key_nulls": 0, "key_duplicates": 7}})
    assert declared.keys_identify_rows("k", told).actual.endswith("7 duplicate keys")


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [(1_000, PASS), (950, PASS), (949, WARNING), (800, WARNING), (799, FAILURE), (500, FAILURE), (0, FAILURE),
     (1_250, PASS), (1_251, WARNING), (2_000, WARNING), (2_001, FAILURE)],
)  # fmt: skip
def test_rows_against_the_previous_release(make: Make, rows: int, outcome: Outcome) -> None:
    before = PreviousFacts("a_v0.1.0-beta", 1_000, None)
    verdict = previous.rows_against_previous("r", make(PLACES, before=before, summary={"rows": rows}))
    assert verdict.outcome is outcome
    assert verdict.actual == f"{rows} rows ({(rows - 1_000) / 1_000:+.2%})"
    assert bool(verdict.remedy) is (outcome is not PASS)
    assert "about 1000 rows as in a_v0.1.0-beta" in verdict.expected


def test_rows_by_declared_thresholds_and_without_a_release(make: Make) -> None:
    before = PreviousFacts("a", 1_000, None)
    wide = {"rows": {"shrink_warning": 0.5, "shrink_failure": 0.6}}
    half = {"rows": 500}
    assert previous.rows_against_previous("r", make(PLACES, before=before, checks=wide, summary=half)).outcome is PASS
    assert previous.rows_against_previous("r", make(PLACES)).outcome is PASS
    empty = PreviousFacts("a", 0, None)
    assert previous.rows_against_previous("r", make(PLACES, before=empty)).outcome is WARNING


@given(rows=st.integers(0, 10_000), before=st.integers(1, 10_000))
def test_rows_never_pass_by_shrinking_further(rows: int, before: int) -> None:
    def outcome(now: int) -> Outcome:
        summary = DataSummary(now, (), (), None, None, (), {})
        limits: Any = type("D", (), {"checks": Checks()})
        built = Built((), Path(), summary, limits, Vintage.parse("2021"), PreviousFacts("a", before, None), Path())
        return previous.rows_against_previous("r", built).outcome

    if rows <= before:
        assert outcome(rows // 2) >= outcome(rows)
    else:
        assert outcome(rows * 2) >= outcome(rows)


@pytest.mark.parametrize(
    ("now", "outcome"),
    [
        (OTTAWA, PASS),
        ((-75.7005, 45.40, -75.60, 45.50), PASS),  # half a per cent of 0.1 degrees
        ((-75.70, 45.40, -75.60, 45.505), WARNING),
        ((-75.70, 45.40, -75.60, 45.52), FAILURE),
        ((-75.70, 45.40, -75.64, 45.50), FAILURE),  # shrinking is moving as well
        (None, FAILURE),
    ],
)
def test_bounds_against_the_previous_release(
    make: Make, now: tuple[float, float, float, float] | None, outcome: Outcome
) -> None:
    before = PreviousFacts("a_v0.1.0-beta", 1, OTTAWA)
    verdict = previous.bounds_against_previous("b", make(features(SQUARE), before=before, summary={"bounds": now}))
    assert verdict.outcome is outcome
    if outcome is WARNING:
        assert verdict.examples == [{"side": "north", "before": 45.50, "now": 45.505, "moved": pytest.approx(0.05)}]
        assert "west -75.7, south 45.4, east -75.6, north 45.5 as in a_v0.1.0-beta" in verdict.expected


@pytest.mark.parametrize(
    ("bounds", "report", "outcome", "said"),
    [
        (OTTAWA, {}, PASS, "no faults"),
        ((45.4, -75.7, 45.5, -75.6), {}, FAILURE, "look swapped"),
        ((75.6, 45.4, 75.7, 45.5), {}, FAILURE, "lack their sign"),
        ((-75.7, -1.0, 75.7, 45.5), {}, PASS, "no faults"),
        (None, {}, PASS, "no faults"),
        (OTTAWA, {"points_at_zero": 2}, WARNING, "2 points lie at longitude 0"),
        (OTTAWA, {"operation_accuracy_m": 20.0, "operation_better_with_grid": {"accuracy_m": 1.5, "grids": ["g.tif"]}},
         WARNING, r"20 m; g\.tif would make it accurate to 1\.5 m"),
        (OTTAWA, {"operation_accuracy_m": 4.0, "operation_better_with_grid": {"accuracy_m": 1.5, "grids": ["g.tif"]}},
         PASS, "no faults"),
    ],
)  # fmt: skip
def test_positions(make: Make, bounds: Any, report: dict[str, Any], outcome: Outcome, said: str) -> None:
    built = make(features(SQUARE), summary={"bounds": bounds, "report": report})
    verdict = positions.positions_plausible("p", built)
    assert verdict.outcome is outcome
    assert re.search(said, verdict.actual)
    assert bool(verdict.remedy) is (outcome is not PASS)


def test_geometry(make: Make) -> None:
    assert spatial.geometry_valid("g", make(features(SQUARE, None))).outcome is PASS

    verdict = spatial.geometry_valid("g", make(features(SQUARE, BOW_TIE, shapely.Polygon()), key=["id"]))
    assert (verdict.outcome, verdict.actual) == (FAILURE, "3 geometries and 0 nulls, 1 empty, 1 invalid")
    assert verdict.examples[0] == {"id": 3, "fault": "empty"}
    assert verdict.examples[1]["reason"].startswith("Self-intersection[-75.65 45.45")
    nested = spatial.geometry_valid("g", make(features(SQUARE), summary={"report": {"nested_parts": 2}}))
    assert (nested.outcome, "2 with a part within another" in nested.actual) == (WARNING, True)
    assert nested.remedy.startswith("Confirm with the publisher")

    known = spatial.geometry_valid("g", make(features(SQUARE, BOW_TIE), checks={"invalid_allowed": 1}))
    assert known.outcome is WARNING
    assert known.examples[0]["row"] == 1
    # Neither NaN nor infinity is a place, though GEOS calls such a point valid.
    assert spatial.geometry_valid("g", make(features(shapely.Point(float("inf"), 1.0)))).outcome is FAILURE


def test_geometry_in_the_declared_extent(make: Make) -> None:
    ottawa = dict(zip(("west", "south", "east", "north"), OTTAWA, strict=True))
    assert spatial.geometry_valid("g", make(features(SQUARE), extent=ottawa)).outcome is PASS
    away = shapely.Point(45.45, -75.65)  # the axes swapped
    verdict = spatial.geometry_valid("g", make(features(SQUARE, away), extent=ottawa, key=["id"]))
    assert verdict.outcome is FAILURE
    assert verdict.examples == [
        {"id": 2, "bounds": [45.45, -75.65, 45.45, -75.65], "fault": "outside the extent"}
    ]  # fmt: skip
    assert verdict.remedy == "Declare the right processing.crs or extent"
    pacific = {"west": 170.0, "south": -50.0, "east": -170.0, "north": 0.0}
    both = features(shapely.Point(175, -10), shapely.Point(-175, -10))
    assert spatial.geometry_valid("g", make(both, extent=pacific)).outcome is PASS
    assert spatial.geometry_valid("g", make(features(shapely.Point(0, -10)), extent=pacific)).outcome is FAILURE


def test_encoding(make: Make) -> None:
    assert declared.encoding_sane("e", make(PLACES)).outcome is PASS
    table = pa.table({"name": ["QuÃ©bec", "Lévis", "QuÃ©bec", None], "note": ["a", "b", "c", "Montr\ufffdal"]})
    verdict = declared.encoding_sane("e", make(table))
    assert (verdict.outcome, verdict.actual) == (FAILURE, "3 values in name, note")
    assert verdict.examples == [
        {"column": "name", "value": "QuÃ©bec"},
        {"column": "note", "value": "Montr\ufffdal"},
    ]
    assert declared.encoding_sane("e", make(table, checks={"mojibake_allowed": 3})).outcome is WARNING
    assert declared.encoding_sane("e", make(table, checks={"mojibake_allowed": 2})).outcome is FAILURE


def of_texts(**columns: list[str | None]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def test_columns_that_are_text_because_of_a_few_values(make: Make) -> None:
    numbers = [str(number) for number in range(100)]
    table = of_texts(
        rate=[*numbers, "..", "..", "x", None], name=[f"n{n}" for n in range(104)], code=["x", *numbers, *"yzz"]
    )
    verdict = text_columns.types_plausible("t", make(table))
    assert (verdict.outcome, verdict.actual) == (WARNING, "text because of a few values: rate")
    assert verdict.examples == [
        {"column": "rate", "numbers": 100, "value": "..", "rows": 2},
        {"column": "rate", "numbers": 100, "value": "x", "rows": 1},
    ]
    assert verdict.remedy.startswith("Declare the values as nulls of their columns")
    as_text = {"rate": {"type": "string"}}
    assert text_columns.types_plausible("t", make(table, columns=as_text)).outcome is PASS
    # More kinds of words than markers have are data, as are numbers that are text by their zeros.
    doors = of_texts(door=[*numbers, *(f"{n}A" for n in range(6))], zip=["01", "02", "03", "04"] * 26 + ["x", "1"])
    assert text_columns.types_plausible("t", make(doors)).outcome is PASS


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [
        ([("m", "w")], FAILURE),  # the names of a second table
        ([("km", "t"), ("m", "w")], FAILURE),
        ([("m", "w"), ("Note", None)], FAILURE),
        ([("x", "x")], WARNING),  # one marker
        ([("..", "...")], WARNING),
        ([("x", "F")], WARNING),  # two markers
        ([("x", "5"), ("5", "F")], WARNING),  # never in one row
        ([(None, None)], PASS),
    ],
)
def test_rows_of_names_among_numbers(make: Make, rows: list[tuple[str, str]], outcome: Outcome) -> None:
    both = [("1", "2"), ("3", "4"), ("5", "6"), *rows, ("7", "8"), ("9", "10")]
    table = of_texts(n=[first for first, _ in both], v=[second for _, second in both])
    verdict = text_columns.types_plausible("t", make(table))
    assert verdict.outcome is outcome
    if outcome is FAILURE:
        assert {"n": rows[0][0], "v": rows[0][1]} in verdict.examples
        assert "names of a second table, or units" in verdict.actual


def test_a_row_with_a_number_is_no_row_of_names(make: Make) -> None:
    numbers = [str(number) for number in range(50)]
    table = of_texts(n=[*numbers, "low"], v=[*numbers, "high"])
    counted = table.append_column("population", pa.array(range(51), pa.int32()))
    assert text_columns.types_plausible("t", make(counted)).outcome is WARNING
    narrower = table.append_column("population", pa.array([*range(50), None], pa.int32()))
    assert text_columns.types_plausible("t", make(narrower)).outcome is FAILURE


def test_one_row_of_names_is_found_among_many_rows_of_markers(make: Make) -> None:
    markers = [[a, b, c] for a in ("x", "F", "E", "..") for b in ("x", "F", "E", "..") for c in ("x", "F", "E", "..")]
    both = [*([str(number)] * 3 for number in range(100)), *markers, ["men", "women", "total"]]
    first, second, third = (list(column) for column in zip(*both, strict=True))
    verdict = text_columns.types_plausible("t", make(of_texts(m=first, w=second, t=third)))
    assert verdict.outcome is FAILURE
    assert verdict.examples == [{"m": "men", "w": "women", "t": "total"}]


def test_numbers_among_texts_are_counted_over_all_batches_and_parts(make: Make, tmp_path: Path) -> None:
    late = [str(number) for number in range(70_000)]
    built = make(of_texts(v=[*late, "..", *late]))
    (found,) = Attributes.read([*built.files, *built.files], threads=2).numeric.items()
    assert (found[0], found[1].numbers, dict(found[1].odd)) == ("v", 280_000, {"..": 2})


def test_the_pass_over_attributes_counts_every_batch(make: Make) -> None:
    table = pa.table({f"c{n}": [None, "Ã©"] * 600 for n in range(1_000)})  # 1,048 rows a batch
    found = Attributes.read(make(table).files, threads=2)
    assert (found.rows, found.nulls["c7"], found.garbled["c999"].count) == (1_200, 600, 600)


def test_dguids(make: Make) -> None:
    good = pa.table({"dguid": ["2021A000235", "2021A000224", None]})
    one = [{"column": "dguid"}]
    assert declared.dguids_well_formed("d", make(good, dguids=one)).outcome is PASS
    bad = pa.table({"dguid": ["2021A000235"] * 98 + ["2019A000556001009", "35"]})
    verdict = declared.dguids_well_formed("d", make(bad, dguids=one))
    assert (verdict.outcome, verdict.actual) == (FAILURE, "dguid: 100 values, 2 malformed")
    assert verdict.examples == [
        {"column": "dguid", "malformed": "2019A000556001009", "rows": 1},
        {"column": "dguid", "malformed": "35", "rows": 1},
    ]
    allowed = {"dguids": {"malformed_failure": 0.02}}
    assert declared.dguids_well_formed("d", make(bad, dguids=one, checks=allowed)).outcome is WARNING
    none = pa.table({"dguid": pa.array([None, None], pa.string())})
    assert declared.dguids_well_formed("d", make(none, dguids=one)).outcome is WARNING

    known = [{"column": "dguid", "gazetteer": "geographies.sql"}]
    for unknown, outcome in ((0, PASS), (5, WARNING), (6, FAILURE)):
        told = {"DGUID": {"unknown": unknown, "unknown_examples": ["2021A000299"] if unknown else []}}
        hundred = pa.table({"dguid": ["2021A000235"] * 100})
        verdict = declared.dguids_well_formed("d", make(hundred, dguids=known, summary={"report": {"dguids": told}}))
        assert verdict.outcome is outcome
        assert f"{unknown} unknown to the gazetteer" in verdict.actual


def test_totals(make: Make) -> None:
    table = pa.table({"value": [0.1, 0.2, None], "n": [1, 2, 2], "word": ["a", "b", "c"]})
    right = [
        {"rows": 3},
        {"column": "value", "sum": 0.3},
        {"column": "value", "count": 2},
        {"column": "n", "distinct": 2},
        {"column": "n", "sum": 5.5, "tolerance": 0.5},
        {"rows": 99, "vintage": 2016},
    ]
    assert declared.expected_totals("t", make(table, checks={"totals": right})).outcome is PASS
    wrong = [{"column": "value", "sum": 0.31, "tolerance": 0.001}, {"column": "n", "sum": 6}]
    verdict = declared.expected_totals("t", make(table, checks={"totals": wrong}))
    assert (verdict.outcome, verdict.actual) == (FAILURE, "2 of 2 totals differ")
    assert verdict.examples[0]["actual"] == pytest.approx(0.3)
    assert verdict.examples[1] == {"total": "sum of n", "expected": 6.0, "actual": 5.0, "tolerance": 0.0}
    text = Check("expected_totals", "declared", "").run(
        make(table, checks={"totals": [{"column": "word", "sum": 1}]})
    )  # fmt: skip
    assert (text.outcome, text.actual[:34]) == (FAILURE, "could not run: Checking data.parqu")


def _conforming(built: Built) -> Verdict:
    return conformance.geoparquet_conformance("c", built)


def _with_geo(built: Built, **column: Any) -> Built:
    table = pq.read_table(built.files[0])
    metadata = dict(table.schema.metadata)
    geo = json.loads(metadata[b"geo"])
    geo["columns"]["geometry"] |= column
    metadata[b"geo"] = json.dumps(geo).encode()
    pq.write_table(table.replace_schema_metadata(metadata), built.files[0], compression="zstd")
    return built


def test_conformance(make: Make) -> None:
    verdict = _conforming(make(features(SQUARE, None)))
    assert (verdict.outcome, verdict.actual) == (PASS, "1 row group; no faults")


@pytest.mark.parametrize(
    ("column", "outcome", "what"),
    [
        ({"encoding": "WKT"}, FAILURE, "unknown encoding"),
        ({"crs": None}, FAILURE, "another CRS"),
        ({"crs": "EPSG:3347"}, FAILURE, "another CRS"),
        ({"geometry_types": ["Point"]}, FAILURE, "geometry_types lacks types that occur"),
        ({"geometry_types": ["Point", "Polygon"]}, WARNING, "geometry_types has unused types"),
        ({"geometry_types": "Polygon"}, FAILURE, "geometry_types is not a list of types"),
        ({"edges": "curved"}, FAILURE, "unknown edges"),
        ({"bbox": [-75.69, 45.40, -75.60, 45.50]}, FAILURE, "geometry leaves the bbox"),
        ({"bbox": [-80.0, 45.40, -75.60, 45.50]}, WARNING, "the bbox is too large"),
        ({"covering": {}}, FAILURE, "no covering in the metadata"),
    ],
)
def test_untrue_metadata(make: Make, column: dict[str, Any], outcome: Outcome, what: str) -> None:
    verdict = _conforming(_with_geo(make(features(SQUARE)), **column))
    assert (verdict.outcome, verdict.examples[0]["what"]) == (outcome, what)


def test_geometry_that_belies_the_file(make: Make) -> None:
    turned = _with_geo(make(features(shapely.reverse(SQUARE))), orientation="counterclockwise")
    assert [example["what"] for example in _conforming(turned).examples] == ["rings run the wrong way"]

    built = make(features(SQUARE, shapely.Point(-75.65, 45.45)), key=["id"])
    table = pq.read_table(built.files[0])
    boxes = table["bbox"].combine_chunks()
    small = pa.StructArray.from_arrays(
        [boxes.field(0), boxes.field(1), boxes.field(2), pa.array([45.5, 45.44])], fields=list(boxes.type)
    )
    table = table.set_column(table.schema.get_field_index("bbox"), "bbox", small)
    pq.write_table(table, built.files[0], compression="zstd")
    (example,) = _conforming(built).examples
    assert example["what"] == "boxes do not contain their geometry"
    assert example["actual"].startswith('1 rows, such as [{"id": 2')

    slow = _conforming(make(features(SQUARE), compression="snappy"))
    assert (slow.outcome, slow.examples[0]["actual"]) == (WARNING, "SNAPPY")
    other = _conforming(make(features(SQUARE), geoparquet="2.0"))
    assert {"another version", "another logical type"} <= {example["what"] for example in other.examples}
    plain = make(features(SQUARE))
    pq.write_table(pq.read_table(plain.files[0]).replace_schema_metadata(None), plain.files[0])
    assert _conforming(plain).examples[0]["what"] == "no geo metadata"


def test_readable(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = readers.readable_by_others("r", make(features(SQUARE, None, SQUARE)))
    assert verdict.outcome is PASS
    assert verdict.actual == "pyarrow 3; pyarrow, geometry 3; DuckDB 3; geopandas 3"
    assert readers.readable_by_others("r", make(PLACES)).actual == "pyarrow 3; DuckDB 3"

    verdict = readers.readable_by_others("r", make(features(SQUARE, SQUARE), summary={"rows": 3}))
    assert (verdict.outcome, len(verdict.examples)) == (FAILURE, 4)
    assert verdict.examples[3] == {"reader": "geopandas", "expected": 3, "actual": 2}

    # A big file is read in a window only, and the verdict says so.
    monkeypatch.setattr(readers, "_MOST_ROWS", 1)
    verdict = readers.readable_by_others("r", make(features(SQUARE, shapely.Point(-75.7, 45.4), None)))
    assert verdict.outcome is PASS
    assert "geopandas 2 of 2 rows in the window -75.7, 45.4, -75.6, 45.5 of a large file" in verdict.actual


def test_a_check_that_cannot_run_has_failed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    check = Check("rows_against_previous", "previous", "The rows.")

    def broken(_name: str, _built: Built) -> Verdict:
        raise KeyError("rows")

    monkeypatch.setattr(previous, "rows_against_previous", broken)
    verdict = check.run(make(PLACES))
    assert verdict.outcome is FAILURE
    assert verdict.actual.startswith("could not run: KeyError: 'rows' (test_checks_verdicts.py:")
    assert (verdict.expected, verdict.remedy) == ("The rows.", "Report this bug")

    def full(_name: str, _built: Built) -> Verdict:
        raise StorageError("The disk is full", "Make room")

    monkeypatch.setattr(previous, "rows_against_previous", full)
    verdict = check.run(make(PLACES))
    assert (verdict.actual, verdict.remedy) == ("could not run: The disk is full", "Make room")

    gone = make(PLACES)
    gone.files[0].write_bytes(b"PAR1 no more")
    assert Check("encoding_sane", "declared", "").run(gone).outcome is FAILURE
    assert Check("never_written", "declared", "").run(gone).actual.startswith("could not run: AttributeError")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rows": {"shrink_warning": 0.3}}, "smaller than its warning"),
        ({"bounds": {"move_failure": 0.001}}, "smaller than move_warning"),
        ({"totals": [{"rows": 1, "sum": 2}]}, "one of rows, sum, count and distinct"),
        ({"totals": [{"sum": 2}]}, "any other has one"),
        ({"skip": ["schema_as_declared"]}, "skip"),
        ({"row": {}}, "row"),
    ],
)
def test_wrong_declarations_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Checks.model_validate(wrong)
