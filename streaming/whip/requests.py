"""What stands in the head of a WHIP or WHEP request, and in its query."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

from engine.config import known
from engine.errors import ConfigError, InputError
from streaming.consents import FIELDS, Given, read_given
from streaming.doors import RefusedError
from streaming.whip import fragment

SDP: Final = "application/sdp"
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,64}"')
_MOST_ETAGS = 8
_DRIVERS = ("source", "bundle", "mode", "codec", "driver", "donors", *FIELDS)
_VIEWERS = ("codec",)


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of a POST. source: an id, empty for the first one. donors: ids. given: who allows the source, None
    where nothing is said of it. The rest as streaming.offer.Offer has it."""

    source: str = ""
    bundle: str = ""
    mode: str = ""
    codec: str = "auto"
    driver: str = "camera"
    donors: tuple[str, ...] = ()
    given: Given | None = None


def asked(request: web.Request, *, views: bool = False) -> Asked:
    """Raises ConfigError for a name that is none, or stands there twice; donors are ids with commas between. views: of
    who only watches."""
    given: dict[str, str] = {}
    for name, value in request.query.items():
        known(name, _VIEWERS if views else _DRIVERS, "option")
        if name in given:
            raise ConfigError(f"{name}: it stands in the address twice; expected it once")
        given[name] = value
    known(given.get("codec", "auto"), ("auto", "vp8", "h264"), "codec")
    donors = tuple(one for one in given.pop("donors", "").split(",") if one)
    allowed = read_given({name: given.pop(name) for name in FIELDS if name in given})
    return Asked(**given, donors=donors, given=allowed)


def check_sdp(request: web.Request) -> None:
    """That a description comes, and one may go back. Raises RefusedError (415, 406)."""
    if request.content_type != SDP:
        raise RefusedError(
            415, "RequestError", f"expected {SDP}, as RFC 9725 has it", headers={"Accept-Post": SDP}
        )
    if not _accepts(request.headers.getall(hdrs.ACCEPT, [])):
        raise RefusedError(406, "RequestError", f"the answer is {SDP}, which the request does not accept")


def _accepts(accepted: list[str]) -> bool:
    ranges = [part for header in accepted for part in header.split(",") if part.strip()]
    if not ranges:
        return True
    weighed = []
    for part in ranges:
        name, *parameters = (word.strip().lower() for word in part.split(";"))
        if name in (SDP, "application/*", "*/*"):
            none = any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters)
            weighed.append((("*/*", "application/*", SDP).index(name), not none))
    return max(weighed, default=(0, False))[1]  # the closest name decides


def check_fragment(request: web.Request) -> None:
    """Raises RefusedError (415)."""
    if request.content_type != fragment.MEDIA_TYPE:
        raise RefusedError(
            415,
            "RequestError",
            f"expected {fragment.MEDIA_TYPE}, as RFC 8840 has it",
            headers={"Accept-Patch": fragment.MEDIA_TYPE},
        )


def matching(request: web.Request) -> frozenset[str] | None:
    """The strong etags of If-Match, None for any. Raises RefusedError (428) where it is missing, InputError where it is
    neither."""
    given = ",".join(request.headers.getall(hdrs.IF_MATCH, [])).strip()
    if not given:
        raise RefusedError(
            428, "RequestError", 'If-Match: expected the newest ETag, or "*" where ICE begins anew'
        )
    # Some clients quote the star.
    if given in ("*", '"*"'):
        return None
    etags = [one.strip() for one in given.split(",")]
    if len(etags) > _MOST_ETAGS or not all(map(_ETAG.fullmatch, etags)):
        raise InputError("If-Match: expected an ETag, or *")
    return frozenset(one for one in etags if not one.startswith("W/"))
