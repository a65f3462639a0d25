"""The C2PA library, loaded when it is needed, and the settings that every use of it here has."""

from __future__ import annotations

import json
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

from engine.errors import ProvenanceError

_PURPOSES: Final = (
    "1.3.6.1.5.5.7.3.4",  # e-mail protection, the one that every reader takes without being told
    "1.3.6.1.5.5.7.3.36",  # document signing
    "1.3.6.1.4.1.62558.2.1",  # C2PA claim signing
    "1.3.6.1.5.5.7.3.8",  # time stamping, of authorities
    "1.3.6.1.5.5.7.3.9",  # OCSP signing, of responders
)
"""Extended key usages of certificates that may stand in a manifest."""

SIGNING_PURPOSES: Final = _PURPOSES[:3]


def available() -> bool:
    """Whether the library is installed, without loading it (60 MB)."""
    return find_spec("c2pa") is not None


def library() -> ModuleType:
    """The library. Raises ProvenanceError where it is not installed, or has no build for this machine."""
    try:
        import c2pa
    except (ImportError, OSError) as error:
        raise ProvenanceError(
            f"C2PA manifests can be neither written nor read here ({error}): pip install 'marotte[c2pa]'"
        ) from error
    return c2pa  # type: ignore[no-any-return, unused-ignore]


def context(c2pa: ModuleType, anchors: str = "") -> Any:
    """How manifests are made and read: nothing is fetched from addresses that a file names, and no thumbnail of
    anybody's face goes into a manifest. anchors: PEM of further certificates that are trusted."""
    trust = {"trust_config": "\n".join(_PURPOSES) + "\n"}
    if anchors:
        trust["user_anchors"] = anchors
    settings = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": True},
        "builder": {"thumbnail": {"enabled": False}},
        "trust": trust,
    }
    return c2pa.Context(c2pa.Settings.from_json(json.dumps(settings)))
