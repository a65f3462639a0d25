"""The record of what is shipped: the built-in sample, and the bundles that are tuned to one generated face. It lies
beside them and is trusted as the code is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.consent.reading import Exported, read_file, written
from engine.consent.record import Kind, Record, attest
from engine.errors import ConsentError
from engine.signing import Signer
from engine.state import write_whole

FILE = Path(__file__).parents[1] / "data" / "sample_consent.json"
STATEMENT = "Made by the project: a drawn portrait and generated faces, nobody's photograph."


@cache
def shipped() -> Mapping[str, Record]:
    """By the hash of a source. Raises ConsentError for an installation whose file was damaged."""
    record = read_file(FILE).record
    if record.kind is not Kind.SAMPLE:
        raise ConsentError(f"{FILE.name}: its kind is {record.kind}; install Marotte again")
    return dict.fromkeys(record.sources, record)


def write_shipped(sources: Sequence[str], path: Path = FILE) -> None:
    """The record of the sources of these hashes, signed by a key that is used once and not kept: what makes it count is
    where it lies, and the signature only shows a damaged file."""
    record = attest(
        Signer(Ed25519PrivateKey.generate()),
        sources,
        Kind.SAMPLE,
        shown="nobody",
        attested_by="the project",
        statement=STATEMENT,
    )
    write_whole(path, written(Exported(record)))
    path.chmod(0o644)
