"""Release names: one writer, and a parser that takes everything Data for Canada has published."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.model import addresses
from d4c_pipeline.model.dguid import is_well_formed_dguid
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.naming import DatasetName, ReleaseName, latest_stem
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage


@pytest.fixture(scope="session")
def published(fixtures: Path) -> list[str]:
    return (fixtures / "16_d4c_release_ids" / "published.txt").read_text(encoding="utf-8").split()


def test_every_published_name_is_read(published: list[str]) -> None:
    names = [ReleaseName.parse(text) for text in published]

    assert len(names) == 74
    assert {str(name.version) for name in names} == {"0.1.0-beta"}
    assert [str(name) for name in names if not is_well_formed_dguid(name.dataset.dguid)] == [
        "ca-yt_whitehorse_2019A000556001009_d4c-datapkg-orthoimagery_2019_200mm_v0.1.0-beta"
    ]
    # What is not written back as it stood is what joins source and DGUID by a hyphen.
    changed = {text for text, name in zip(published, names, strict=True) if str(name) != text}
    assert len(changed) == 9
    assert all(ReleaseName.parse(str(ReleaseName.parse(text))) == ReleaseName.parse(text) for text in changed)
    assert all("-20" in text.partition("_d4c")[0] for text in changed)


@pytest.mark.parametrize(
    ("text", "name", "vintage"),
    [
        (
            "ca-ab_red-deer-2024A00054808011_d4c-datapkg-orthoimagery_2024_075mm_v0.1.0-beta",
            DatasetName("ca-ab", "red-deer", "2024A00054808011", "d4c-datapkg-orthoimagery", None, "075mm"),
            "2024",
        ),
        (
            "ca-on_province_of_ontario-2024A000235_drape_eastern_ontario_orthoimagery_2024_16cm_v0.1.0-beta",
            DatasetName(
                "ca-on", "province_of_ontario", "2024A000235", None, "drape_eastern_ontario_orthoimagery", "16cm"
            ),
            "2024",
        ),
        (
            "ca-yt_whitehorse-2019A000556001009_d4c-datapkg-orthoimagery_2019_200mm_v0.1.0-beta",
            DatasetName("ca-yt", "whitehorse", "2019A000556001009", "d4c-datapkg-orthoimagery", None, "200mm"),
            "2019",
        ),
        (
            "ca_nrcan-2021A000011124_d4c-datapkg-orthoimagery_2020_30m_v0.1.0-beta",
            DatasetName("ca", "nrcan", "2021A000011124", "d4c-datapkg-orthoimagery", None, "30m"),
            "2020",
        ),
        (
            "ca_statcan_2021A000011124_d4c-datapkg-foundation_national_address_register_2024-06_v0.1.0-beta",
            DatasetName("ca", "statcan", "2021A000011124", "d4c-datapkg-foundation", "national_address_register", None),
            "2024-06",
        ),
        (
            "ca_statcan_2021A000011124_d4c-datapkg-foundation_open_database_of_buildings_2025-04-15_v0.1.0-beta",
            DatasetName(
                "ca", "statcan", "2021A000011124", "d4c-datapkg-foundation", "open_database_of_buildings", None
            ),
            "2025-04-15",
        ),
        (
            (
                "ca_statcan_2021A000011124_d4c-datapkg-statistical_census_pop_federal_electoral_districts_2013_"
                "representation_order_digital_2021_v0.1.0-beta"
            ),
            DatasetName(
                "ca",
                "statcan",
                "2021A000011124",
                "d4c-datapkg-statistical",
                "census_pop_federal_electoral_districts_2013_representation_order_digital",
                None,
            ),
            "2021",
        ),
    ],
)
def test_the_odd_ones_have_exact_parts(text: str, name: DatasetName, vintage: str) -> None:
    parsed = ReleaseName.parse(text)

    assert parsed == ReleaseName(name, Vintage.parse(vintage), Version.read("0.1.0-beta"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "readme",
        "ca_statcan_2021A000011124_d4c-datapkg-statistical_2021",
        "ca_statcan_d4c-datapkg-statistical_2021_v0.1.0",
        "ca_statcan_2021A000011124_d4c-datapkg-statistical_x_v0.1.0",
        "CA_statcan_2021A000011124_d4c-datapkg-statistical_x_2021_v0.1.0",
        "ca_statcan_2021A000011124_d4c-datapkg-statistical_x_2021_v0.1",
        "ca_statcan_2021A000011124_d4c-datapkg-statistical_x_2021-13_v0.1.0",
        "ca_statcan_2021A000011124_d4c-datapkg-statistical_x_2021_v0.1.0.parquet\n",
        "ca_statcan_2021A000011124_d4c-datapkg-statistical_x_２０２１_v0.1.0",
        "../ca_statcan_2021A000011124_d4c-datapkg-statistical_x_2021_v0.1.0",
    ],
)
def test_what_is_no_release_name_is_refused(text: str) -> None:
    with pytest.raises(PermanentError):
        ReleaseName.parse(text)


names = st.builds(
    DatasetName,
    region=st.from_regex(r"[a-z]{2}(-[a-z]{2})?", fullmatch=True),
    source=st.from_regex(r"[a-z]{2,8}(_[a-z]{2,8})?", fullmatch=True),
    dguid=st.sampled_from(["2021A000011124", "2016A000248", "2021A00055915022", "2021S051548010123"]),
    package=st.from_regex(r"d4c-datapkg-[a-z]{3,12}", fullmatch=True),
    theme=st.none() | st.from_regex(r"[a-z]{2,10}(_[a-z]{2,10}|_20[0-9]{2}_[a-z]{2,6}){0,3}", fullmatch=True),
    variant=st.none() | st.from_regex(r"[0-9]{2,3}(mm|cm|m)", fullmatch=True),
)
vintages = st.sampled_from(["2021", "2024-06", "2025-04-15", "2025-06-04T1230"]).map(Vintage.parse)
versions = st.sampled_from(["0.1.0-beta", "0.1.0", "1.12.3", "2.0.0-rc"]).map(Version.read)


@given(names, vintages, versions)
def test_what_is_written_is_read(name: DatasetName, vintage: Vintage, version: Version) -> None:
    written = ReleaseName(name, vintage, version)

    assert ReleaseName.parse(str(written)) == written


def test_the_written_form_and_its_addresses() -> None:
    name = DatasetName("ca", "statcan", "2021A000011124", "d4c-datapkg-statistical", "census_divisions_digital")
    vintage, version = Vintage.parse("2021"), Version.read("0.1.0-beta")
    release = ReleaseName(name, vintage, version)
    stem = "ca_statcan_2021A000011124_d4c-datapkg-statistical_census_divisions_digital"

    assert str(release) == f"{stem}_2021_v0.1.0-beta"
    assert latest_stem(name, None) == stem
    assert addresses.latest_address(name, vintage, ".parquet") == f"processed/{stem}_2021.parquet"
    assert addresses.latest_address(name, None, ".parquet") == f"processed/{stem}.parquet"
    assert addresses.latest_part_address(name, None, "pruid-24") == f"processed/{stem}/pruid-24.parquet"
    assert addresses.latest_index_address(name, vintage) == f"processed/{stem}_2021/manifest.json"
    assert addresses.torrent_address(f"{release}.parquet") == f"torrents/{stem}_2021_v0.1.0-beta.torrent"
    assert addresses.release_address("cd", vintage, version, "a.parquet") == "releases/cd/2021/v0.1.0-beta/a.parquet"
    assert addresses.raw_address("cd", vintage, "0123456789abcdef", "a.zip") == "raw/cd/2021/0123456789ab/a.zip"
