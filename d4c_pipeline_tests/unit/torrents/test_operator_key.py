"""The operator's key: made once, readable by its owner alone, never shown."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from d4c_pipeline.model.errors import PermanentError, StorageError
from d4c_pipeline.torrents.operator_key import make_key, public_key, read_key


def test_a_key_is_made_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "operator.pem"
    made = make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key(path) == made
    assert public_key(made.public_text) == public_key(made.public_text.upper()) == made.public
    seed = made.private.private_bytes_raw()
    assert seed.hex() not in repr(made)
    assert str(seed) not in repr(made)
    content = path.read_bytes()
    with pytest.raises(PermanentError, match="A key exists at"):
        make_key(path)
    assert path.read_bytes() == content


def test_it_signs_as_rfc_8032_says(tmp_path: Path) -> None:
    # Test 1 of RFC 8032, 7.1: the signature of the empty message.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    header = bytes.fromhex("302e020100300506032b657004220420")
    path = tmp_path / "key.der"
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    key = load_der_private_key(header + seed, None)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    found = read_key(path)
    assert found.public_text == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert found.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )


def test_what_is_no_such_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        read_key(tmp_path / "none")
    (tmp_path / "text").write_text("no key")
    with pytest.raises(PermanentError, match="holds no readable private key"):
        read_key(tmp_path / "text")
    rsa = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "rsa").write_bytes(rsa)
    with pytest.raises(PermanentError, match="is not an ed25519 key"):
        read_key(tmp_path / "rsa")
    for text in ("", "ab", "g" * 64, "a" * 63):
        with pytest.raises(PermanentError, match="is not a public key"):
            public_key(text)
