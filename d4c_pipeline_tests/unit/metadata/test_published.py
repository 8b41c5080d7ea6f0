"""The facts of a published release, and the registry through which records are made of them."""

from __future__ import annotations

import pytest

from d4c_pipeline.metadata.records.registry import record_documents, record_format, record_formats
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.errors import UnknownNameError
from d4c_pipeline_tests.support.published import a_published, hostile
from d4c_pipeline_tests.support.releases import RATES


def test_addresses_follow_the_store_and_are_relative_without_one() -> None:
    published = a_published()
    data = published.data_files[0]
    assert published.url(data).startswith("https://data.example.ca/releases/provinces/2021/v1.0.0/")
    nowhere = a_published(site=Site())
    assert nowhere.href(data.address) == f"../../../../{data.address}"
    assert nowhere.url(data) == data.archive  # the archive has a public address, the store has none


def test_a_test_doi_is_no_link() -> None:
    assert a_published().landing_page == "https://doi.org/10.5281/d4c.2021.1.0.0"
    published = a_published(test=True)
    assert published.doi_url is None
    assert published.landing_page == published.archive_url


def test_the_place_is_that_of_the_data_the_declaration_or_unknown() -> None:
    assert a_published().place.origin == "data"
    assert a_published(RATES, "2025-06-04").place is None
    assert hostile()["across 180"].place.boxes == ((170.0, -50.0, 180.0, -30.0), (-180.0, -50.0, -170.0, -30.0))


def test_parts_have_their_own_torrents_and_rows() -> None:
    published = a_published(parts=45)
    assert len(published.data_files) == len(published.torrents) == 45
    assert published.data_files[3].part == "part-04"
    assert published.data_files[3].rows == 7


def test_every_format_renders_every_release_the_same_twice() -> None:
    for published in hostile().values():
        assert dict(record_documents(published)) == dict(record_documents(published))


def test_an_unknown_format_is_refused_with_the_known_names() -> None:
    with pytest.raises(UnknownNameError):
        record_format("dublin")
    assert len({form.file_name for form in record_formats().values()}) == len(record_formats())
