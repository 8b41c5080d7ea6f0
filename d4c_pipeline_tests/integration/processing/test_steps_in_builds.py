"""The declared steps within whole builds: WDS tables, DGUIDs, null markers, narrowed types, inputs, notebooks."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pydantic import ValidationError

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError, PermanentError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build

Declare = Callable[..., Dataset]
VINTAGE = Vintage.parse("2021")


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def notebook(dataset: Dataset, *cells: str, parameters: str = "") -> Dataset:
    """Put a notebook of these cells beside the definition."""
    assert dataset.folder is not None
    made = [{"cell_type": "code", "source": parameters, "metadata": {"tags": ["parameters"]}}]
    made += [{"cell_type": "code", "source": cell, "metadata": {}} for cell in cells]
    for number, cell in enumerate(made):
        cell |= {"id": f"c{number}", "outputs": [], "execution_count": None}
    text = json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    (dataset.folder / "transform.ipynb").write_text(text, "utf-8")
    return dataset


def test_a_full_table_in_a_build(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    wds = fixtures / "08_statcan_wds"
    dataset = declare(kind="table", key=["ref_date", "vector"], wds={})
    done = build(dataset, VINTAGE, [wds / "33100036-eng.zip", wds / "33100036.json"], tmp_path / "out")
    assert done.summary.rows == 90_086
    report = done.summary.report
    assert (report["wds"]["cube"], report["wds"]["null_values"], report["key_duplicates"]) == ("33100036", 12_495, 0)
    described = {column.name: column for column in done.summary.columns}
    assert list(described)[:8] == [
        "ref_date", "ref_start_date", "ref_end_date", "geo_en", "geo_fr", "dguid", "type_of_currency_en",
        "type_of_currency_fr",
    ]  # fmt: skip
    french = described["type_of_currency_fr"]
    assert (french.source, french.description_fr) == ("Type of currency", "Genre de monnaie")
    assert (described["ref_date"].type, described["value"].source) == ("string", "VALUE")
    assert (described["coordinate"].type, described["vector"].type) == ("string", "string")
    found = duckdb.sql(
        f"SELECT status_fr, count(*), min(ref_start_date)::VARCHAR FROM '{done.data}' WHERE value IS NULL GROUP BY 1"
    ).fetchall()
    assert found == [("indisponible pour une période de référence précise", 12_495, "2016-04-16")]


@pytest.mark.parametrize(
    "row",
    [
        "2021,Canada,2021A000011124,2016,Number,223,units,0,v1,1.1,10,,,,0",
        "2021-05-07,Canada,,Men,,,,,,1.10,,..,,t,",
        "2021/2022,Canada,,true,Number,999,millions,6,v123,1,-1.50,,r,,15",
    ],
)
@pytest.mark.parametrize("sql", [None, 'SELECT *, "COORDINATE" AS place FROM source'])
def test_all_full_tables_have_the_same_types(declare: Declare, tmp_path: Path, row: str, sql: str | None) -> None:
    names = "REF_DATE,GEO,DGUID,Sex,UOM,UOM_ID,SCALAR_FACTOR,SCALAR_ID,VECTOR,COORDINATE,VALUE,STATUS,SYMBOL,TERMINATED"
    native = written(tmp_path / "99100001.csv", f"{names},DECIMALS\n{row}\n")
    dataset = declare(kind="table", key=["ref_date", "coordinate"], wds={}, **({"sql": "t.sql"} if sql else {}))
    if sql:
        assert dataset.folder is not None
        written(dataset.folder / "t.sql", sql)
    done = build(dataset, VINTAGE, [native], tmp_path / "out")
    kinds = {column.name: column.type for column in done.summary.columns}
    others = {"ref_start_date": "date32[day]", "ref_end_date": "date32[day]", "uom_id": "int16", "scalar_id": "int8",
              "value": "double", "terminated": "bool", "decimals": "int8"}  # fmt: skip
    assert kinds == {**dict.fromkeys(kinds, "string"), **others}
    assert {"ref_date", "sex_en", "coordinate", "vector", "dguid", "status_fr"} <= set(kinds)
    assert ("place" in kinds) == (sql is not None)


def test_cube_metadata_may_stand_beside_the_yaml(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    wds = fixtures / "08_statcan_wds"
    dataset = declare(kind="table", wds={"metadata": "cube.json"})
    assert dataset.folder is not None
    with pytest.raises(DataError, match=r"cube metadata cube\.json are neither in the delivery nor beside the YAML"):
        build(dataset, VINTAGE, [wds / "23100216-eng.zip"], tmp_path / "out")
    shutil.copy(wds / "33100036.json", dataset.folder / "cube.json")
    with pytest.raises(DataError, match="describe table 33100036, the data are table 23100216"):
        build(dataset, VINTAGE, [wds / "23100216-eng.zip"], tmp_path / "out")
    shutil.copy(wds / "23100216.json", dataset.folder / "cube.json")
    done = build(dataset, VINTAGE, [wds / "23100216-eng.zip"], tmp_path / "out")
    assert done.summary.rows == 104_958
    assert done.summary.report["wds"]["rows_without_dguid"] == 69_972
    assert pq.read_table(done.data, columns=["estimates_fr"]).column(0).null_count == 0


def test_small_and_regional_tables(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    wds = fixtures / "08_statcan_wds"
    done = build(declare(kind="table", wds={}), VINTAGE, [wds / "10100001-eng.zip"], tmp_path / "a")
    assert (done.summary.rows, done.summary.report["wds"]["rows_without_dguid"]) == (182, 182)
    known = fixtures / "13_dguid_names_2021" / "geographies.sql"
    dataset = declare(kind="table", wds={}, dguids=[{"gazetteer": "geographies.sql"}])
    assert dataset.folder is not None
    shutil.copy(known, dataset.folder)
    natives = [wds / "18100204-eng.zip", wds / "18100204.json"]
    done = build(dataset, VINTAGE, natives, tmp_path / "b")
    judged = done.summary.report["dguids"]["DGUID"]
    # The table's are of 2016, the gazetteer's of 2021: well-formed and not among them.
    assert (done.summary.rows, judged["values"], judged["malformed"], judged["unknown"]) == (11_804, 11_804, 0, 11_804)


def test_a_table_that_is_no_full_table_is_refused(declare: Declare, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Columns of a full table are missing: REF_DATE"):
        build(declare(kind="table", wds={}), VINTAGE, [written(tmp_path / "a.csv", "a,b\n1,2\n")], tmp_path / "out")
    with pytest.raises(ValidationError, match="the symbols of a wds or census table say why"):
        declare(kind="table", wds={}, nulls=[".."])


def test_a_census_profile_in_a_build(declare: Declare, tmp_path: Path) -> None:
    text = "DGUID,CHARACTERISTIC_ID,CHARACTERISTIC_NAME,C1_COUNT_TOTAL,SYMBOL,C10_RATE_TOTAL,SYMBOL\n"
    text += '2021A000011124,1,"Population, 2021",36991981,,5.2,\n2021A000011124,8,  Québec,..,,,x\n'
    dataset = declare(kind="table", census={"layout": "profile"}, key=["dguid", "characteristic_id"])
    done = build(dataset, VINTAGE, [written(tmp_path / "profile.csv", text)], tmp_path / "out")
    rows = pq.read_table(done.data).to_pylist()
    assert rows[1] == {
        "dguid": "2021A000011124", "characteristic_id": "8", "characteristic_name": "Québec", "characteristic_level": 1,
        "count_total": None, "count_total_symbol": "..", "rate_total": None, "rate_total_symbol": "x",
    }  # fmt: skip
    assert done.summary.report["census"] == {"null_values": 2, "null_values_without_symbol": 0}


def test_null_markers_of_one_column_leave_the_others_alone(declare: Declare, tmp_path: Path) -> None:
    native = written(tmp_path / "rows.csv", "grade,count,note\nF,F,x\nA,12,None\n")
    columns: dict[str, Any] = {"count": {"nulls": ["F"], "type": "integer"}, "note": {"nulls": ["x", "None"]}}
    done = build(declare(kind="table", columns=columns), VINTAGE, [native], tmp_path / "out")
    assert pq.read_table(done.data).to_pylist() == [
        {"grade": "A", "count": 12, "note": None},
        {"grade": "F", "count": None, "note": None},
    ]


def test_text_is_narrowed_unless_kept_or_declared(declare: Declare, tmp_path: Path) -> None:
    native = written(tmp_path / "rows.csv", "pruid,pop,when,area,code_x\n10,300,2021-05-07,1.5,007\n24,-1,,2.25,8\n")

    def types(**processing: Any) -> dict[str, str]:
        done = build(declare(kind="table", **processing), VINTAGE, [native], tmp_path / "out")
        schema = pq.read_schema(done.data)
        assert [column.type for column in done.summary.columns] == [str(field.type) for field in schema]
        return {field.name: str(field.type) for field in schema}

    narrow = {"pruid": "string", "pop": "int16", "when": "date32[day]", "area": "double", "code_x": "string"}
    assert types() == narrow
    assert set(types(types="keep").values()) == {"string"}
    assert types(columns={"pop": {"type": "integer"}, "when": {"type": "string"}}) == narrow | {
        "pop": "int64", "when": "string",
    }  # fmt: skip


def test_sources_that_know_their_types_keep_them_unless_asked(declare: Declare, tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame({"n": [3], "t": ["7"]}, geometry=shapely.points([-75.0], [45.0]), crs=4326)
    frame.to_file(tmp_path / "a.gpkg")
    kept = build(declare(), VINTAGE, [tmp_path / "a.gpkg"], tmp_path / "out").summary.columns
    assert [column.type for column in kept[:2]] == ["int64", "string"]
    asked = build(declare(types="narrow"), VINTAGE, [tmp_path / "a.gpkg"], tmp_path / "out").summary.columns
    assert [column.type for column in asked[:2]] == ["int8", "int8"]


def test_numbers_that_stay_text_are_told(declare: Declare, tmp_path: Path) -> None:
    done = build(
        declare(kind="table"), VINTAGE, [written(tmp_path / "a.csv", "v,w\n1.1,a\n1.10,b\n")], tmp_path / "out"
    )
    assert list(done.summary.report["kept_as_text"]) == ["v"]
    assert sorted(pq.read_table(done.data)["v"].to_pylist()) == ["1.1", "1.10"]


def test_dguids_are_derived_described_and_used_as_key(declare: Declare, tmp_path: Path) -> None:
    native = written(tmp_path / "rows.csv", "PRUID,name\n35,Ontario\n3,typo\n")
    columns = {"dguid": {"description": {"en": "Identifier", "fr": "Identificateur"}}}
    dguids = [{"from": "pruid", "type": "A", "schema": "0002"}]
    done = build(
        declare(kind="table", key=["dguid"], dguids=dguids, columns=columns), VINTAGE, [native], tmp_path / "out"
    )
    assert pq.read_table(done.data)["dguid"].to_pylist() == ["2021A00023", "2021A000235"]
    assert done.summary.report["dguids"]["dguid"] == {
        "values": 2, "nulls": 0, "malformed": 1, "malformed_examples": ["2021A00023"],
    }  # fmt: skip
    assert [c.description_fr for c in done.summary.columns if c.name == "dguid"] == ["Identificateur"]
    assert done.parameters["processing"]["dguids"][0]["from"] == "pruid"


def test_sql_reads_other_releases_and_nothing_else(declare: Declare, tmp_path: Path) -> None:
    folder = tmp_path / "with [brackets] *"
    folder.mkdir()
    places = geopandas.GeoDataFrame(
        {"pruid": ["35"], "area": [2.0]}, geometry=[shapely.box(-95, 41, -74, 57)], crs=4326
    )
    places.to_parquet(folder / "places.parquet")
    pq.write_table(pa.table({"pruid": ["35"], "fr": ["Ontario (fr)"]}), folder / "names.parquet")
    inputs = {"places": folder / "places.parquet", "names": folder / "names.parquet"}
    native = written(tmp_path / "rows.csv", "PRUID,x,y\n35,-80,45\n24,-70,46\n")
    sql = """
        SELECT s.PRUID, n.fr, s.geometry, ST_Within(s.geometry, p.geometry) AS inside
        FROM source s JOIN places p ON p.pruid = s.PRUID JOIN names n ON n.pruid = s.PRUID
    """
    declared = {"places": "provinces", "names": "names_of_provinces"}
    dataset = declare(longitude="x", latitude="y", sql_text=sql, inputs=declared)
    done = build(dataset, VINTAGE, [native], tmp_path / "out", inputs=inputs)
    frame = geopandas.read_parquet(done.data)
    assert frame[["pruid", "fr", "inside"]].to_dict("records") == [
        {"pruid": "35", "fr": "Ontario (fr)", "inside": True}
    ]
    other = tmp_path / "other.parquet"
    shutil.copy(inputs["names"], other)
    peek = declare(kind="table", sql_text=f"SELECT * FROM read_parquet('{other}')", inputs={"names": "n"})
    with pytest.raises(DataError, match="Permission Error"):
        build(peek, VINTAGE, [native], tmp_path / "out", inputs={"names": inputs["names"]})
    gone = declare(kind="table", sql_text="SELECT * FROM names", inputs={"names": "n"})
    with pytest.raises(DataError, match="The input names can't be read as Parquet"):
        build(gone, VINTAGE, [native], tmp_path / "out", inputs={"names": tmp_path / "none.parquet"})


def test_wrong_declarations_of_steps_are_refused(declare: Declare) -> None:
    for wrong, message in [
        ({"sql": "a.sql", "notebook": "b.ipynb"}, "declare sql or notebook, not both"),
        ({"notebook": "../b.ipynb"}, "name a file in the dataset's own folder"),
        ({"inputs": {"a": "b"}}, "neither is declared"),
        ({"sql": "a.sql", "inputs": {"source": "b"}}, "'source' is the name of the dataset's own rows"),
        ({"wds": {}, "census": {"layout": "profile"}}, "declare wds or census, not both"),
        ({"wds": {"fiscal_year_start": 13}}, "less than or equal to 12"),
    ]:
        with pytest.raises(ValidationError, match=message):
            declare(kind="table", **wrong)


def test_a_notebook_makes_the_rows_and_its_copy_is_kept(declare: Declare, tmp_path: Path) -> None:
    pytest.importorskip("papermill")
    native = written(tmp_path / "rows.csv", "PRUID,x,y\n35,-80,45\n24,-70,46\n")
    dataset = notebook(
        declare(longitude="x", latitude="y", notebook="transform.ipynb", key=["pruid"]),
        "import pyarrow.parquet as pq, shapely, sys\ntable = pq.read_table(inputs['source']).drop_columns(['x', 'y'])",
        "longitudes = shapely.get_x(shapely.from_wkb(table['geometry'].to_numpy()))",
        "table = table.append_column('lon', [longitudes]).append_column('vintage', [[vintage] * len(table)])\n"
        "pq.write_table(table, f'{tables}/rows.parquet')\nprint(sys.executable)",
        parameters="vintage = None",
    )
    done = build(dataset, VINTAGE, [native], tmp_path / "a")
    rows = geopandas.read_parquet(done.data).set_index("pruid")
    assert (rows.lon["35"], rows.vintage["24"], rows.geometry["24"]) == (-80.0, 2021, shapely.Point(-70, 46))
    assert done.notebook == tmp_path / "a" / "notebook.ipynb"
    executed = json.loads(done.notebook.read_text("utf-8"))
    assert [cell["metadata"].get("tags") for cell in executed["cells"]][:2] == [["parameters"], ["injected-parameters"]]
    assert executed["cells"][-1]["outputs"][0]["text"] == [f"{sys.executable}\n"]
    assert len(done.parameters["notebook_sha256"]) == 64
    again = build(dataset, VINTAGE, [native], tmp_path / "b")
    assert again.notebook is not None
    for one, other in ((done.data, again.data), (done.notebook, again.notebook)):
        assert hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "data.parquet",
        "notebook.ipynb",
        "profile.json",
    ]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1 / 0", r"The notebook transform\.ipynb failed in cell \[2\]: ZeroDivisionError: division by zero"),
        ("import os; os._exit(1)", r"The notebook transform\.ipynb lost its kernel"),
    ],
)
def test_a_notebook_that_fails_is_explained(declare: Declare, tmp_path: Path, cell: str, message: str) -> None:
    pytest.importorskip("papermill")
    native = written(tmp_path / "rows.csv", "a\n1\n")
    dataset = notebook(declare(kind="table", notebook="transform.ipynb"), cell)
    with pytest.raises(DataError, match=message) as refusal:
        build(dataset, VINTAGE, [native], tmp_path / "out")
    assert "\n" not in str(refusal.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_notebook_sees_no_secret_of_whoever_runs_it(
    declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("papermill")
    for name in ("D4C_ARCHIVE_TOKEN", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "SOURCE_AUTHORIZATION", "ANYTHING"):
        monkeypatch.setenv(name, f"s3cret-of-{name.lower()}")
    native = written(tmp_path / "rows.csv", "a\n1\n")
    saving = "import os, shutil; shutil.copy(inputs['source'], f'{tables}/rows.parquet')"
    printing = "print(sorted(os.environ), os.path.expanduser('~'))"
    dataset = notebook(declare(kind="table", notebook="transform.ipynb"), saving, printing)
    done = build(dataset, VINTAGE, [native], tmp_path / "out")
    assert done.notebook is not None
    (said,) = json.loads(done.notebook.read_text("utf-8"))["cells"][-1]["outputs"][0]["text"]
    assert "PATH" in said
    assert [name for name in ("TOKEN", "PGPASSWORD", "AWS", "AUTHORIZATION", "ANYTHING") if name in said] == []
    assert str(Path.home()) not in said.split("]")[1]


@pytest.mark.parametrize(
    "cell",
    [
        "print(open('FILE').read())",
        "print('-----BEGIN RSA ' + 'PRIVATE KEY-----')",
        "print('https://ana:' + 'hunter2@a.ca/x')",
    ],
)
def test_a_notebook_that_prints_a_secret_is_not_published(
    declare: Declare, tmp_path: Path, cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("papermill")
    token = written(tmp_path / "token", "a token with no form of its own")
    monkeypatch.setenv("D4C_ARCHIVE_TOKEN", token.read_text("utf-8"))
    cell = cell.replace("FILE", str(token))
    native = written(tmp_path / "rows.csv", "a\n1\n")
    saving = "import os, shutil; shutil.copy(inputs['source'], f'{tables}/rows.parquet')"
    dataset = notebook(declare(kind="table", notebook="transform.ipynb"), saving, cell)
    with pytest.raises(DataError, match=r"shows a secret in the output of cell \d\. Remove the secret from the output"):
        build(dataset, VINTAGE, [native], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_notebook_without_the_extra_is_explained(
    declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    dataset = notebook(declare(kind="table", notebook="transform.ipynb"), "pass")
    with pytest.raises(PermanentError, match=r"papermill and ipykernel is not installed\. Install d4c-pipeline"):
        build(dataset, VINTAGE, [written(tmp_path / "rows.csv", "a\n1\n")], tmp_path / "out")


def test_members_of_a_zip_with_a_json_and_a_table(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    wds = fixtures / "08_statcan_wds"
    with zipfile.ZipFile(wds / "18100204-eng.zip") as archive, zipfile.ZipFile(tmp_path / "all.zip", "w") as whole:
        for name in archive.namelist():
            whole.writestr(name, archive.read(name))
        whole.write(wds / "18100204.json", "18100204.json")
    done = build(declare(kind="table", wds={}), VINTAGE, [tmp_path / "all.zip"], tmp_path / "out")
    assert {"index_fr", "geo_fr"} <= {column.name for column in done.summary.columns}


def test_what_a_reader_finds_while_sql_reads_keeps_its_own_sentence(declare: Declare, tmp_path: Path) -> None:
    row = "2021,Canada,2021A000011124,a,t,1,units,0,v1,1.1,{},,,,0\n"
    header = (
        "REF_DATE,GEO,DGUID,Dim,UOM,UOM_ID,SCALAR_FACTOR,SCALAR_ID,VECTOR,COORDINATE,VALUE,STATUS,SYMBOL,TERMINATED"
    )
    native = written(tmp_path / "t.csv", f"{header},DECIMALS\n{row.format('about five')}")
    dataset = declare(kind="table", wds={}, sql_text="SELECT * FROM source")
    with pytest.raises(DataError, match=r"^Column VALUE has values that are neither numbers nor known symbols"):
        build(dataset, VINTAGE, [native], tmp_path / "out")


def test_threads_change_neither_bytes_nor_report(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    natives = [fixtures / "08_statcan_wds" / name for name in ("23100216-eng.zip", "23100216.json")]
    one, two = (
        build(declare(kind="table", wds={}), VINTAGE, natives, tmp_path / str(threads), threads=threads)
        for threads in (1, 3)
    )
    assert one.data.read_bytes() == two.data.read_bytes()
    assert one.summary.report == two.summary.report
