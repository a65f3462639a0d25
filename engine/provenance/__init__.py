"""Provenance: C2PA manifests in the files that are made here, and in those that are read.

    signer = configured()                             # the operator's, or None for the certificate made here
    check(signer)                                     # before the work: raises what signing would raise after it
    sign(path, made, ingredients=[driven], signer=signer)
    manifest = read(path)                             # None where the file holds none

A manifest lies in the file, is signed over the file's bytes, and says what made it of what (docs/c2pa.md). The library
is the optional extra `c2pa`; `available` says whether it is there.
"""

from engine.provenance.credentials import SignerConfig, configured
from engine.provenance.made import Ingredient, Made
from engine.provenance.native import available
from engine.provenance.reading import Manifest, Part, read
from engine.provenance.signing import check, holds_manifest, sign

__all__ = [
    "Ingredient",
    "Made",
    "Manifest",
    "Part",
    "SignerConfig",
    "available",
    "check",
    "configured",
    "holds_manifest",
    "read",
    "sign",
]
