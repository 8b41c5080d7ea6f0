"""A party's French name, and that a definition without one has the digest that it had before the field."""

from __future__ import annotations

from d4c_pipeline.model.credits import Party


def test_a_party_without_a_french_name_is_written_as_before() -> None:
    plain, named = Party(name="Statistics Canada"), Party(name="Statistics Canada", name_fr="Statistique Canada")
    assert "name_fr" not in plain.model_dump(mode="json")
    assert (plain.named("fr"), named.named("fr"), named.named("en")) == (
        "Statistics Canada",
        "Statistique Canada",
        "Statistics Canada",
    )
    assert Party.model_validate(named.model_dump(mode="json")) == named
