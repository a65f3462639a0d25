"""The certificate of an installation whose operator has none: made on first use, trusted by nobody.

C2PA's profile wants a version 3 certificate of an end entity, issued by another one, with an organisation in its
subject, for digital signatures and e-mail protection or document signing, that names its own and its issuer's key. So
an issuer is made too; its key is forgotten at once, and nobody can issue a second one under its name.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import sys
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from engine.errors import StateError
from engine.media.wording import one_line

FILE: Final = "c2pa_development.pem"
ORGANISATION: Final = "Marotte, a certificate of the installation's own"
_YEARS: Final = 10  # without a time stamp a signature is good for as long as its certificate is
_RENEWED: Final = dt.timedelta(days=30)
_MOST_BYTES: Final = 16_384


def development(folder: Path, now: dt.datetime | None = None) -> bytes:
    """PEM of the key, its certificate and that one's issuer, from `folder`, where it is kept with mode 0600; made where
    there is none, and anew in its last month. Blocks. Raises StateError where it can be neither read nor kept."""
    path, now = folder / FILE, now or dt.datetime.now(dt.UTC)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _keep(path, _made(now), replacing=False)
        pem = _read(path)
        if x509.load_pem_x509_certificates(pem)[0].not_valid_after_utc < now + _RENEWED:
            pem = _made(now)
            _keep(path, pem, replacing=True)
        return pem
    except (OSError, ValueError, IndexError) as error:
        why = getattr(error, "strerror", None) or error
        raise StateError(
            f"the certificate for C2PA manifests, {one_line(path)}, cannot be used ({why}): repair it, or move it away "
            "to get a new one"
        ) from error


def _made(now: dt.datetime) -> bytes:
    issuer, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    number = secrets.token_hex(4)
    above = _name(f"Marotte development issuer {number}")
    root = (
        _begun(above, above, issuer, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .sign(issuer, SHA256())
    )
    leaf = (
        _begun(_name(f"Marotte development {number}"), above, own, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False
        )
        .sign(issuer, SHA256())
    )
    key = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem: bytes = key + leaf.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM)
    return pem


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))  # a clock that is put right later must not undo it
        .not_valid_after(now + dt.timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not signs,
        crl_sign=not signs,
        encipher_only=False,
        decipher_only=False,
    )


def _keep(path: Path, pem: bytes, *, replacing: bool) -> None:
    """Of several processes that start at once, the first one's stays."""
    part = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(pem)
            opened.flush()
            os.fsync(opened.fileno())
        if replacing:
            os.replace(part, path)
        else:
            os.link(part, path)
    except FileExistsError:
        pass
    finally:
        part.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if sys.platform != "win32" and (status.st_uid != os.getuid() or status.st_mode & 0o077):
            raise ValueError("others can read or change it: chmod 600")
        return file.read(_MOST_BYTES)
