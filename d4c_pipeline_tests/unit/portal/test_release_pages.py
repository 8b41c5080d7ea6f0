"""The page of a release: what it says, in which order, and that no text of a publisher becomes markup or a link."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from d4c_pipeline.ledger.judgements import CheckResult
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.frequency import Freshness
from d4c_pipeline.model.publication import Reuse
from d4c_pipeline.model.release import Column
from d4c_pipeline.portal.facts import CopyFacts, DatasetFacts, RelatedDataset
from d4c_pipeline.portal.policy import HEADER, policy
from d4c_pipeline.portal.views.overview import card, titled
from d4c_pipeline.portal.views.release import release_page
from d4c_pipeline.portal.views.snippets import snippets
from d4c_pipeline.portal.words import Words
from d4c_pipeline_tests.support.pages import DAY, SITE, STORE, release_pages, some_facts
from d4c_pipeline_tests.support.published import a_published, hostile

HOSTILE = hostile()
SECTIONS = ["explore", "get", "code", "columns", "versions", "provenance", "cite", "files"]


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_nothing_of_a_publisher_becomes_markup_or_a_foreign_link(case: str, tmp_path: Path) -> None:
    published = HOSTILE[case]
    if published.site.base_url is None:
        published = replace(published, site=replace(published.site, base_url=STORE))
    for file, document, text in release_pages(some_facts(published), tmp_path):
        assert document.xpath("//*[@class='sections']/section/@id") == SECTIONS, file
        scripts = document.xpath("//script")
        assert all(script.get("src") or script.get("type") in _DATA for script in scripts)
        assert not any(script.text for script in scripts if script.get("src"))
        for element in document.iter():
            assert not [name for name in element.attrib if name.startswith("on") or name == "style"], file
            assert (
                element.tag not in ("style", "iframe", "object", "embed", "form") or element.get("method") == "dialog"
            )
        for link in document.xpath("//@href | //@src"):
            assert urlsplit(link).scheme in ("", "http", "https", "magnet", "mailto"), link
        for script in scripts:
            if script.get("type") in _DATA:
                json.loads(script.text)
        # Every opened script is one of ours: a publisher's `</script>` would add one.
        assert text.count("<script") == text.count("</script>") == len(scripts)
        identifiers = document.xpath("//@id")
        assert len(identifiers) == len(set(identifiers))
        for target in document.xpath("//a[starts-with(@href, '#')]/@href"):
            assert target[1:] in identifiers, target
        language = file.split("/")[0]
        assert document.get("lang") == language


# Elements that isolate the direction of their text, by themselves or in the style sheet.
_ISOLATING = ("bdi", "pre", "title", "script", "textarea", "code", "button", "th", "option")


def test_texts_of_publishers_are_isolated_from_the_direction_of_the_page(tmp_path: Path) -> None:
    turning = "\u202e"
    for file, document, text in release_pages(some_facts(HOSTILE["texts"]), tmp_path):
        assert turning not in text, file  # marks of direction are taken out, and
        for needle in ("right to left", "isolate"):  # the text around them is isolated
            places = [
                element
                for element in document.iter()
                if isinstance(element.tag, str) and needle in (element.text or "") and element.tag not in _ISOLATING
            ]
            assert [(each.tag, each.get("class")) for each in places] == [], file


def test_a_title_in_one_language_only_is_the_title_of_both(tmp_path: Path) -> None:
    title = a_published().title
    only = replace(a_published(), title=title.model_construct(en="", fr="Limites"))
    for _, document, _ in release_pages(some_facts(only), tmp_path):
        assert document.xpath("string(//h1)") == "Limites"
    assert titled(card(some_facts(only)), Words.of("en")) == "Limites"
    none = replace(a_published(), title=title.model_construct(en="", fr=""))
    for _, document, _ in release_pages(some_facts(none), tmp_path):
        assert document.xpath("string(//h1)") == none.name


_DATA = ("application/json", "application/ld+json")


def test_addresses_of_other_schemes_are_text() -> None:
    published = a_published()
    licence = replace(published.licence, url="javascript:alert(1)")
    torrent = published.data_files[0].torrent
    assert torrent is not None
    bad = replace(torrent, magnet="javascript:alert(2)")
    files = tuple(replace(file, torrent=bad) if file.torrent else file for file in published.files)
    facts = some_facts(
        replace(published, licence=licence, files=files, homepage="data:text/html,x", archive_url=" ftp://x")
    )
    page = release_page(facts, SITE, Words.of("en"))
    assert page.licence_url is None
    assert page.record_url is None
    assert [address for _, address in page.data.more if not address.startswith("http")] == []
    assert not [address for _, address in page.more if address.startswith("data:")]
    assert ("license", "javascript:alert(1)", "") not in page.links


def test_the_page_says_what_the_ledger_knows() -> None:
    facts = some_facts(a_published())
    english, french = (release_page(facts, SITE, Words.of(language)) for language in ("en", "fr"))
    assert (english.checks_line, french.checks_line) == ("1 check passed", "1 contrôle réussi")
    assert english.copies_line == "1 copy, last verified November 25, 2026"
    assert french.copies_line == "1 copie, dernière vérification le 25 novembre 2026"
    assert english.checks_good
    assert english.copies_good
    failed = CheckResult("geometry_valid", "failure", {"actual": "3 invalid"}, DAY)
    lost = CopyFacts(place="mirror", kind="mirror", files=9, intact=False, verified_at=DAY)
    worse = release_page(replace(facts, checks=(failed,), copies=(lost,)), SITE, Words.of("en"))
    assert (worse.checks_line, worse.checks_good) == ("1 check needs attention", False)
    assert (worse.copies_line, worse.copies_good) == ("0 copies, not verified yet", False)
    assert worse.copies[0][3] == "damaged or missing"
    assert release_page(replace(facts, checks=()), SITE, Words.of("en")).checks_line == "No checks are recorded"


def test_a_superseded_release_names_the_newer_one() -> None:
    page = release_page(some_facts(HOSTILE["superseded"]), SITE, Words.of("fr"))
    assert page.newer is not None
    assert page.newer[1] == f"/fr/datasets/{HOSTILE['superseded'].dataset}/2021/1.1.0/"
    assert not page.latest
    assert release_page(some_facts(a_published()), SITE, Words.of("fr")).newer is None


def test_a_test_doi_is_no_link(tmp_path: Path) -> None:
    for _, document, _ in release_pages(some_facts(HOSTILE["test DOI"]), tmp_path):
        assert not [link for link in document.xpath("//@href") if "doi.org" in link]
        assert document.xpath("//*[@class='passport']//em")
    for _, document, _ in release_pages(some_facts(a_published()), tmp_path):
        assert document.xpath("//link[@rel='cite-as']/@href") == [f"https://doi.org/{a_published().doi}"]


def test_both_languages_lead_to_each_other_and_to_one_address(tmp_path: Path) -> None:
    published = a_published()
    place = f"datasets/{published.dataset}/2021/1.0.0/"
    for file, document, _ in release_pages(some_facts(published), tmp_path):
        language = file.split("/")[0]
        assert file == f"{language}/{place}index.html"
        assert document.xpath("//link[@rel='canonical']/@href") == [f"https://portal.example.ca/{language}/{place}"]
        others = {link.get("hreflang"): link.get("href") for link in document.xpath("//link[@hreflang]")}
        assert others == {
            "en": f"https://portal.example.ca/en/{place}",
            "fr": f"https://portal.example.ca/fr/{place}",
            "x-default": f"https://portal.example.ca/en/{place}",
        }


def test_code_of_the_latest_has_no_checksums_and_a_superseded_release_has_none() -> None:
    facts = some_facts(a_published())
    sha256 = facts.data.sha256
    for snippet in snippets(facts):
        assert facts.published.url(facts.data) in snippet.version
        assert snippet.latest is not None
        assert f"{STORE}/processed/latest.parquet" in snippet.latest
        assert sha256 not in snippet.latest
        assert "/releases/" not in snippet.latest
    assert sum(sha256 in snippet.version for snippet in snippets(facts)) == 2
    assert {snippet.latest for snippet in snippets(replace(facts, latest={}))} == {None}


def test_a_quote_in_an_address_stays_in_its_string() -> None:
    facts = some_facts(a_published())
    file = replace(facts.data, address="releases/l'été/$(x)`y`.parquet")
    texts = {
        each.id: each.version for each in snippets(replace(facts, published=replace(facts.published, files=(file,))))
    }
    assert "l%27%C3%A9t%C3%A9/%24%28x%29%60y%60.parquet'" in texts["duckdb"]
    assert "$(" not in texts["curl"].replace("$(x)`y`", "")


def test_the_page_of_a_dataset_has_freshness_uses_and_related_datasets(tmp_path: Path) -> None:
    about = DatasetFacts(
        frequency="P3M",
        expected=date(2026, 9, 30),
        freshness=Freshness.LATE,
        reuses=(Reuse(title=Bilingual(en="A <map>", fr="Une carte"), url="https://example.org/map?a=1&b=2"),),
        related=(RelatedDataset(dataset="roads", title=("", "Routes"), shared=("theme", "region")),),
        completeness=0.82,
    )
    facts = some_facts(a_published())
    (_, english, _), (_, french, _) = release_pages(facts, tmp_path, about)
    fresh = [each.xpath("//dl[@class='rhythm']//dd")[-1].text_content() for each in (english, french)]
    assert fresh == [
        "late: new data expected since September 30, 2026",
        "en retard : nouvelles données attendues depuis le 30 septembre 2026",
    ]
    assert english.xpath("//dl[@class='rhythm']//dd")[0].text_content() == "every 3 months"
    complete = [each.xpath("//dl[@class='rhythm complete']//dd")[0].text_content() for each in (english, french)]
    assert complete == ["82 % of the recommended fields are filled", "82 % des champs recommandés sont remplis"]
    links = [each.xpath("//ul[@class='uses']//a") for each in (english, french)]
    uses = [[(link.text_content(), link.get("href")) for link in found] for found in links]
    assert uses[0] == [("A <map>", "https://example.org/map?a=1&b=2"), ("Routes", "/en/datasets/roads/")]
    assert uses[1] == [("Une carte", "https://example.org/map?a=1&b=2"), ("Routes", "/fr/datasets/roads/")]
    assert french.xpath("//ul[@class='uses']//small")[0].text == "même thème, même région"
    # The permanent page of the release has none of them: they change without the release.
    own = "//dl[starts-with(@class, 'rhythm')] | //ul[@class='uses']"
    assert not any(document.xpath(own) for _, document, _ in release_pages(facts, tmp_path))


def test_a_title_in_the_other_language_says_so(tmp_path: Path) -> None:
    published = replace(a_published(), title=Bilingual.model_construct(en="Provinces", fr=" "))
    (_, english, _), (_, french, _) = release_pages(some_facts(published), tmp_path)
    assert [each.xpath("//h1/@lang") for each in (english, french)] == [[], ["en"]]
    assert french.xpath("//h1")[0].text_content() == english.xpath("//h1")[0].text_content()


def test_map_table_and_large_data() -> None:
    small = some_facts(a_published())
    words = Words.of("en")
    tiles = release_page(small, SITE, words).script["tiles"]
    large = replace(small.published, files=tuple(replace(file, size=5_000_000) for file in small.published.files))
    page = release_page(replace(small, published=large), SITE, words)
    has_tiles = any(file.name.endswith(".pmtiles") for file in large.files)
    assert page.script["mapped"] is has_tiles
    assert (page.no_map is None) is has_tiles
    assert tiles is None or tiles.endswith(".pmtiles")
    table = release_page(some_facts(HOSTILE["no place"]), SITE, words)
    assert table.no_map == words["explore"]["no_place"]
    assert table.script["mapped"] is False
    assert release_page(some_facts(HOSTILE["across 180"]), SITE, words).script["bounds"] == (
        -180.0,
        -50.0,
        180.0,
        -30.0,
    )


def test_histograms_have_a_bar_for_every_bin_with_values() -> None:
    published = a_published(columns=(Column("n", "int64"), Column("t", "string")))
    page = release_page(some_facts(published), SITE, Words.of("en"))
    number, text = page.columns
    bars = number.bars.removesuffix("z").split("z")
    assert bars[:2] == ["M0 28v-9.3h5v9.3", "M12 28v-18.7h5v18.7"]  # 28 times the root of 1/9 and of 4/9
    assert [bar.partition(" ")[0] for bar in bars] == [f"M{left}" for left in (0, *range(12, 120, 6))]
    assert bars[-1] == "M114 28v-28h5v28"
    assert (number.extremes, number.null_share != "") == (("1", "20"), True)
    assert text.top == (("a", "9"), ("c", "1"))


def test_the_policy_names_stores_and_nothing_inline() -> None:
    text = policy(["https://b.example", "https://a.example", "https://a.example"])
    assert "connect-src 'self' https://a.example https://b.example;" in text
    assert "unsafe" not in text + HEADER
    assert text.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert HEADER.endswith("frame-ancestors 'none'")
