"""Small files to sign, and certificates of operators."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

from engine.media import VideoWriter
from engine.types import Frame

pytest.importorskip("c2pa", reason="the extra c2pa is not installed")

EMAIL, C2PA = "1.3.6.1.5.5.7.3.4", "1.3.6.1.4.1.62558.2.1"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("MAROTTE_STATE", str(folder))
    return folder


@pytest.fixture(scope="session")
def plain_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "plain.mp4"
    rng = np.random.default_rng(0)
    with VideoWriter(path, (96, 64), Fraction(1, 25), Fraction(25)) as writer:
        for number in range(4):
            rgb = rng.integers(0, 255, (64, 96, 3), np.uint8)
            writer.write(Frame(rgb, number, Fraction(1, 25), 0.0))
    return path


@pytest.fixture
def clip(plain_clip: Path, tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(plain_clip.read_bytes())
    return path


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    path = tmp_path / "portrait.jpg"
    path.write_bytes(cv2.imencode(".jpg", np.full((64, 64, 3), 90, np.uint8))[1].tobytes())
    return path


class Authority:
    """Issues certificates as an operator may bring them, good ones and others."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = _name("An operator's authority")
        self.root = (
            self._begun(self.name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def issue(
        self,
        key=None,
        *,
        purposes: tuple[str, ...] = (EMAIL,),
        subject: x509.Name | None = None,
        days: int = 30,
        signs: bool = True,
        self_signed: bool = False,
    ) -> tuple[str, str]:
        """Paths of the chain and of the key."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = subject or _name("An operator")
        builder = self._begun(subject, key, days, subject if self_signed else self.name)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs=signs), critical=True)
        usage = x509.ExtendedKeyUsage([ObjectIdentifier(one) for one in purposes])
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(usage, critical=False).add_extension(above, critical=False)
        leaf = builder.sign(key if self_signed else self._key, hashes.SHA256())
        chain, kept = self._folder / "chain.pem", self._folder / "key.pem"
        chain.write_bytes(leaf.public_bytes(Encoding.PEM) + self.root.public_bytes(Encoding.PEM))
        kept.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return str(chain), str(kept)

    def _begun(self, subject, key, days=30, issuer=None):
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=60))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A studio"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        signs, False, False, False, False, not signs, not signs, False, False
    )  # fmt: skip
