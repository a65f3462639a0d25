"""With which key and certificate manifests are signed: the operator's, or those that were made here.

The operator names their own in `signer.toml` of the state's folder, or in a file named by an option:

    certificate = "chain.pem"                          # the signer's certificate first, then those above it
    key = "key.pem"                                    # PKCS#8 or SEC 1, without a password
    algorithm = "es256"                                # default: what the key is for
    time_authority = "http://timestamp.example.org"    # RFC 3161; default: none

A key's bytes are read when something is signed, go to the signature alone, and stand in no message and no log.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from engine.config import from_mapping, known
from engine.errors import ConfigError, ProvenanceError
from engine.media.wording import one_line
from engine.provenance.development import FILE as DEVELOPMENT
from engine.provenance.development import development
from engine.provenance.native import SIGNING_PURPOSES
from engine.state import state_folder

FILE: Final = "signer.toml"
_MOST_BYTES: Final = 65_536
_CURVES: Final = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
ALGORITHMS: Final = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")


@dataclass(frozen=True, slots=True)
class SignerConfig:
    """The operator's signer, as `signer.toml` has it: paths of PEM files. Empty: as the module says."""

    certificate: str = ""
    key: str = ""
    algorithm: str = ""
    time_authority: str = ""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key: got one of them, expected both, or neither")
        if self.algorithm:
            known(self.algorithm, ALGORITHMS, "algorithm")
        if self.time_authority and not self.time_authority.startswith(("http://", "https://")):
            raise ValueError("time_authority: expected an address that begins with http:// or https://")

    @staticmethod
    def read(path: Path) -> SignerConfig:
        """From a TOML file; paths in it are meant from its folder. Raises ConfigError."""
        try:
            values = tomllib.loads(_text(path))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigError(f"signer: {one_line(path)} cannot be read ({why}); expected TOML") from error
        config = from_mapping(SignerConfig, values, f"signer {one_line(path.name)}")
        if not config.key:
            return config
        there = {name: str(path.parent / getattr(config, name)) for name in ("certificate", "key")}
        return replace(config, **there)


def configured(folder: Path | None = None) -> SignerConfig | None:
    """The operator's signer, where `signer.toml` stands in the state's folder. Raises ConfigError."""
    path = (folder or state_folder()) / FILE
    return SignerConfig.read(path) if path.exists() else None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs. chain, key: PEM of the certificates and of the key. own: made here, and on no trust list."""

    chain: str
    key: str = field(repr=False)
    algorithm: str
    time_authority: str
    own: bool
    named: str
    """Of the certificate, for messages."""


def credentials(config: SignerConfig | None, folder: Path | None = None) -> Credentials:
    """The operator's, or the ones of this installation in `folder` (the state's). Blocks.

    Raises ProvenanceError for a certificate or key that C2PA would not take, StateError.
    """
    config = config or SignerConfig()
    folder = folder or state_folder()
    if not config.key:
        pem = development(folder)
        return _credentials(pem, pem, config, str(folder / DEVELOPMENT), own=True)
    return _credentials(
        _pem(Path(config.certificate), "certificate"),
        _pem(Path(config.key), "key"),
        config,
        config.certificate,
        own=False,
    )


def _credentials(chain: bytes, key: bytes, config: SignerConfig, path: str, *, own: bool) -> Credentials:
    named = one_line(path)
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise ProvenanceError(f"{named} holds no certificate in PEM; expected the signer's first") from error
    private = _private(key, config.key or path)
    if _public(private) != _public(certificates[0]):
        raise ProvenanceError(
            f"{named}: its first certificate is not that of the key; expected the signer's own before those above it"
        )
    _check(certificates, named)
    algorithm = _algorithm(private, config.algorithm)
    text = b"".join(one.public_bytes(Encoding.PEM) for one in certificates).decode()
    # As the library reads it, whatever form of PEM it came in.
    plain = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Credentials(text, plain, algorithm, config.time_authority, own, named)


def _check(chain: list[x509.Certificate], named: str) -> None:
    """What C2PA's profile asks of a signer's certificate, said before anything is signed and in words of it."""
    leaf, now = chain[0], dt.datetime.now(dt.UTC)
    wrong = None
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        wrong = f"it is valid from {leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d} only"
    elif leaf.issuer == leaf.subject:
        wrong = "it signed itself; expected one that another certificate issued"
    elif not leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME):
        wrong = "its subject has no organisation (O)"
    elif _is_authority(leaf):
        wrong = "it is an authority's; expected the signer's own first"
    elif not _may_sign(leaf):
        wrong = "its key usage has no digital signature"
    elif not _purposes(leaf) & set(SIGNING_PURPOSES):
        wrong = "its extended key usage has neither e-mail protection nor document nor C2PA claim signing"
    if wrong:
        raise ProvenanceError(f"{named} cannot sign C2PA manifests: {wrong}")


def _is_authority(one: x509.Certificate) -> bool:
    try:
        return bool(one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _may_sign(one: x509.Certificate) -> bool:
    try:
        return bool(one.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature)
    except x509.ExtensionNotFound:
        return False


def _purposes(one: x509.Certificate) -> set[str]:
    try:
        usage = one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return set()
    return {purpose.dotted_string for purpose in usage}


def _algorithm(private: Any, wanted: str) -> str:
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _CURVES:
        fitting: tuple[str, ...] = (_CURVES[private.curve.name],)
    elif isinstance(private, rsa.RSAPrivateKey):
        fitting = ("ps256", "ps384", "ps512")
    elif isinstance(private, Ed25519PrivateKey):
        fitting = ("ed25519",)
    else:
        raise ProvenanceError("the key cannot sign C2PA manifests: expected EC P-256/384/521, RSA or Ed25519")
    if wanted and wanted not in fitting:
        raise ProvenanceError(f"algorithm {wanted}: the key is for {' or '.join(fitting)}")
    return wanted or fitting[0]


def _private(pem: bytes, path: str) -> Any:
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        why = "it has a password; expected one without, in a file that you alone can read"
    except ValueError:
        why = "expected a private key in PEM"
    raise ProvenanceError(f"the key {one_line(path)} cannot be used: {why}")


def _public(of: Any) -> bytes:
    return bytes(of.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _pem(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ProvenanceError(f"the {what} {one_line(path)} cannot be read ({why})") from error


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES).decode()
