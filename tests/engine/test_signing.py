"""The installation's key and its signatures."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.errors import StateError
from engine.signing import FILE, Signer, canonical, operator, signed_by


@pytest.fixture(autouse=True)
def _forget():
    operator.cache_clear()


def test_the_signature_is_rfc_8032s():
    """A signature is plain Ed25519 over the stated spelling: RFC 8032's key of test 1 gives its public key."""
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    signer = Signer(Ed25519PrivateKey.from_private_bytes(secret))
    assert signer.public == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert signed_by(signer.public, signer.sign({"b": 1, "a": "ä"}), {"a": "ä", "b": 1})


def test_one_spelling():
    """The order in which a record was written does not matter to its signature."""
    assert (
        canonical({"b": [1, {"d": 2, "c": None}], "a": "ü"}) == '{"a":"ü","b":[1,{"c":null,"d":2}]}'.encode()
    )


@pytest.mark.parametrize("broken", ["", "zz", "00" * 64, "00"])
def test_what_is_no_signature_proves_nothing(tmp_path, broken):
    """Nonsense in the place of a signature or a key is a wrong signature, not an error."""
    signer = operator(tmp_path)
    assert not signed_by(signer.public, broken, {"a": 1})
    assert not signed_by(broken, signer.sign({"a": 1}), {"a": 1})
    assert not signed_by(signer.public, signer.sign({"a": 1}), {"a": 2})


def test_the_key_stays(tmp_path):
    """The key is made once, readable by its user alone, and found again."""
    folder = tmp_path / "state"
    first = operator(folder)
    operator.cache_clear()
    assert operator(folder).public == first.public
    if os.name == "posix":
        assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_a_damaged_key_is_not_replaced(tmp_path):
    """A key that cannot be read is an error: a new one would silently disown what the old one signed."""
    (tmp_path / FILE).write_bytes(b"damaged")
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(StateError, match="move it away"):
        operator(tmp_path)
    assert (tmp_path / FILE).read_bytes() == b"damaged"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_key_that_others_can_read_is_refused(tmp_path):
    """A key that another user of the machine can read signs nothing."""
    operator(Path(tmp_path))
    (tmp_path / FILE).chmod(0o644)
    operator.cache_clear()
    with pytest.raises(StateError, match="chmod 600"):
        operator(tmp_path)
