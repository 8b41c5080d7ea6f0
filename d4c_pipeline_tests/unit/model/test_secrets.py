"""Secrets: what is masked wherever a text goes, what an address may not hold, what a published file may not hold."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.model import secrets
from d4c_pipeline.model.secrets import mask, public_address, sanitise, secret_in_address, secrets_in

SECRET = "aB3dE6gH9jK2mN5p"
PARAMETERS = (
    "sig",
    "subscription-key",
    "Ocp-Apim-Subscription-Key",
    "api_key",
    "apikey",
    "api-key",
    "X-API-Key",
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "X-Goog-Signature",
    "Signature",
    "AWSAccessKeyId",
    "Key-Pair-Id",
    "token",
    "access_token",
    "apiToken",
    "auth_token",
    "client_secret",
    "password",
    "pwd",
    "key",
    "code",
    "auth",
)


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("template", ["https://a.ca/d.csv?{}={}", "https://a.ca/d.csv?v=1&{}={}&x=2"])
def test_a_secret_parameter_is_masked_and_no_declared_address_may_have_it(name: str, template: str) -> None:
    url = template.format(name, SECRET)
    assert SECRET not in mask(f"GET {url} failed")
    assert public_address(url) == template.format(name, "***")
    assert secret_in_address(url) == f"the parameter {name}"


@pytest.mark.parametrize(
    "url",
    [
        "https://a.ca/d.csv?key=population&vintage=2021",
        "https://a.ca/d.csv?code=CA-QC",
        "https://a.ca:8080/@statcan/d.csv",
        "https://a.ca/@user/d.csv",
        "https://a.ca/tokens/d.csv?keyword=signature",
        "https://a.ca/d.csv?resumptionToken=2",
        "https://a.ca/arcgis/rest/services/signage/FeatureServer/0?where=1=1",
        "https://a.ca/query?hash=sha256",
    ],
)
def test_other_addresses_stay_as_they_are(url: str) -> None:
    assert public_address(url) == sanitise(url) == url
    assert secret_in_address(url) is None


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://me:a/b@c@example.org/x", "https://example.org/x"),
        ("postgresql+psycopg2://d4c:p/w?d#x@db:5432/d4c", "postgresql+psycopg2://db:5432/d4c"),
        ("https://token@example.org/x", "https://example.org/x"),
        ('{"token": "abc", "note": "x"}', '{"token": "***", "note": "x"}'),
        ("{'api_key': 'abc'}", "{'api_key': '***'}"),
        (f"Authorization: Basic {SECRET}==", "Authorization: Basic ***"),
    ],
)
def test_odd_places_of_secrets_are_masked(text: str, left: str) -> None:
    assert mask(text) == left


@given(st.text("abc/@?#&:=%+ é", min_size=6, max_size=20).filter(lambda text: text.strip() == text))
def test_a_declared_value_is_masked_wherever_it_is_echoed(value: str) -> None:
    before = set(secrets._declared)
    try:
        secrets.declare(value)
        for said in (value, quote(value), quote(value, safe="")):
            assert value not in sanitise(f"the archive said: <{said}> is no token")
    finally:
        secrets._declared.intersection_update(before)


def test_a_short_value_blanks_no_texts() -> None:
    secrets.declare("a", "", None)
    assert sanitise("a quick answer") == "a quick answer"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("file:///srv/drop/ana/Data%20of%202024.csv", "Data of 2024.csv"),
        ("FILE://host/share/x.zip", "x.zip"),
        ("s3://bucket/a/b.csv", "s3://bucket/a/b.csv"),
    ],
)
def test_a_file_of_the_operator_is_named_without_its_folder(url: str, shown: str) -> None:
    assert public_address(url) == shown


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
        ("-----BEGIN PRIVATE KEY-----", "a private key"),
        ("AKIA" + "Q7WERTYUIOP12345", "an AWS access key"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY", "a password, key or token"),
        ("# ghp_" + "a1B2" * 9, "a GitHub token"),
        ("D4C_ARCHIVE_TOKEN=" + SECRET, "a password, key or token"),
        ("headers = {'Authorization': 'Bearer " + SECRET + "'}", "a token"),
        ("-- from https://me:hunter2@a.ca/x", "an address with user info"),
        (f"url: https://a.ca/x?sv=1&sig={SECRET}", "an address with the parameter sig"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N", "a JSON Web Token"),
    ],
)
def test_what_looks_like_a_key_is_found_with_its_line(line: str, kind: str) -> None:
    assert secrets.Secret(3, kind) in set(secrets_in(f"one\ntwo\n{line}\nfour"))


def test_ordinary_sql_and_yaml_hold_no_secret() -> None:
    text = """
    authorization: ODB_TOKEN
    secret: whether the meeting was held in secret, token by token
    SELECT token, password_hash AS key, sha256(name) AS signature FROM source WHERE code = '2021A000011124'
    "signature": "sha256:0123456789abcdef0123456789abcdef"
    sha256: {places.zip: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef}
    https://a.ca/{vintage}.zip?token={vintage}
    """
    assert list(secrets_in(text)) == []
