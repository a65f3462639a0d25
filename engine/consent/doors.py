"""Where a source is opened for an output: from here on there is a record for it, or an error.

The check stands at the outermost opening (a render, a sweep, a turntable, an enrolment, a puppet of the API, a server's
sources) and nowhere inside: what measures and publishes nothing (evaluate, bench, prepare, train, the parity tests)
opens the same faces without one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.consent.bundled import bundle_hash, cover_bundle, lacks_record
from engine.consent.checking import cover, fault, recorded
from engine.consent.given import given
from engine.consent.hashes import hash_of
from engine.consent.record import Record
from engine.consent.store import Store
from engine.denied import Denied
from engine.denied.reading import refuse_files
from engine.errors import ConsentError
from engine.generators import find_bundle
from engine.media.wording import one_line
from engine.session_log import Event, batched, note
from engine.types import U8

Consent = str | Path | None
"""As `--consent` has it: KIND[:WHO], a record's file, or nothing."""

_log = logging.getLogger("marotte.consent")


def permit(
    use: str,
    sources: Iterable[Path | str | U8],
    *,
    bundle: str | Path | None = None,
    consent: Consent = None,
    store: Store | None = None,
) -> tuple[Record, ...]:
    """The records by which all of these may be used, and the person whom the bundle was tuned to. Blocks.

    sources: files, or decoded pixels (H, W, 3). use: one of SCOPES. consent: is recorded for those that have none yet,
    and they go on; what was revoked, has expired or is for other uses no option overrules. Raises DeniedError for one
    on the deny-list, ConsentError for the first one without a record that holds; StateError where it cannot be kept.
    """
    store, sources = store or Store(), tuple(sources)
    refuse_files(sources, Denied(store.state))
    known_as = {hash_of(one): _name(one) for one in sources}
    folder = None if bundle is None else find_bundle(bundle)
    if consent is not None:
        without = [source for source in known_as if not recorded(source, store)]
        if folder is not None and lacks_record(folder, store):
            without.append(bundle_hash(folder))
        option = given(consent)
        if without or option.file is not None:
            record = option.put(store, without)
            if option.file is not None:
                _log.info("consent: record %s, %s: %s", record.id[:8], record.kind, record.shown)
    found = [record for source, name in known_as.items() for record in cover(source, use, store, name=name)]
    if folder is not None:
        found += cover_bundle(folder, use, store)
    records = tuple({record.id: record for record in found}.values())
    for some in batched(record.id for record in records):
        note(Event.CONSENT_USED, use=use, consent=some)
    return records


def permit_one(
    use: str, sources: Sequence[Path], consent: Consent = None, store: Store | None = None
) -> Record:
    """The one record by which all of these files of one person may be used, as it goes along with what is made of them.

    Raises ConsentError also where each has one of its own; else as `permit`.
    """
    store = store or Store()
    first, *others = permit(use, sources, consent=consent, store=store)
    if not others:
        return first
    hashes = [hash_of(one) for one in sources]
    for record in store.of(hashes[0]):
        if all(one in record.sources for one in hashes) and fault(record, use, store) is None:
            return record
    raise ConsentError(
        f"the consent to {len(sources)} files stands in {1 + len(others)} records, and one goes along with what is "
        "made of them; next step: marotte consent add with all of the files"
    )


def _name(source: Path | str | U8) -> str:
    return one_line(source) if isinstance(source, (str, Path)) else "the picture in memory"
