"""Consent given without questions: `--consent KIND[:WHO]`, or `--consent FILE` of a record."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.config import file_path, known
from engine.consent.checking import fault
from engine.consent.record import Kind, Record
from engine.consent.store import Store
from engine.errors import ConfigError, ConsentError

OPERATOR: Final = "the operator"
"""Who attests what the command line says."""

WORDS: Final = {
    "myself": Kind.MYSELF,
    "generated": Kind.GENERATED,
    "artwork": Kind.ARTWORK,
    "written": Kind.WRITTEN,
}
"""The kinds as an option names them."""

STATEMENTS: Final = {
    Kind.MYSELF: "It shows me, and I allow its use.",
    Kind.GENERATED: "It was generated and shows no living person.",
    Kind.ARTWORK: "It is an artwork in the public domain.",
    Kind.WRITTEN: "I hold the written consent of who is shown.",
}
"""What a record of a kind states where nothing else was written."""

_SHOWN: Final = {Kind.MYSELF: OPERATOR, Kind.GENERATED: "nobody"}
_SUFFIX: Final = ".json"
_log = logging.getLogger("marotte.consent")


@dataclass(frozen=True, slots=True)
class Given:
    """One option. Either file, a record's, or kind and who is shown."""

    file: Path | None = None
    kind: Kind | None = None
    shown: str = ""

    def put(self, store: Store, sources: Sequence[str], statement: str | None = None) -> Record:
        """Record it for these hashes, or import the file. Blocks. Raises ConfigError, StateError, and ConsentError also
        for a source whose consent has ended: a command line that is run again does not give it anew."""
        if self.file is not None:
            return store.take(self.file)
        for source in sources:
            ended = [why for one in store.of(source) if (why := fault(one, one.scope[0], store)) is not None]
            if ended and len(ended) == len(store.of(source)):
                raise ConsentError(
                    f"consent: what was given for it (sha256 {source[:8]}...) {ended[0]}, and no option gives it anew; "
                    "next step: marotte consent add FILE --kind KIND, if somebody did"
                )
        assert self.kind is not None  # one of both, see `given`
        record = store.attest(
            sources,
            self.kind,
            shown=self.shown,
            attested_by=OPERATOR,
            statement=statement or STATEMENTS[self.kind],
        )
        _log.info(
            "consent: record %s, %s: %s; for %s, without an end (marotte consent add --scope --expires records less)",
            record.id[:8],
            record.kind,
            record.shown,
            ", ".join(record.scope),
        )
        return record


def given(option: str | Path) -> Given:
    """What an option says. Raises ConfigError for a word that is no kind and no file, and a name that is missing."""
    text = str(option)
    path = file_path("consent", option)
    word, _, who = text.partition(":")
    if isinstance(option, Path) or (word not in WORDS and (path.suffix == _SUFFIX or path.is_file())):
        if not path.is_file():
            raise ConsentError(f"consent: {path} is not there; expected a file of marotte consent export")
        return Given(file=path)
    kind = WORDS[known(word, WORDS, "consent (KIND[:WHO], or the name of a record's file): kind")]
    who = who.strip() or _SHOWN.get(kind, "")
    if not who:
        what = "the work" if kind is Kind.ARTWORK else "who is shown"
        raise ConfigError(f"consent: {word} names {what} too: --consent {word}:NAME")
    return Given(kind=kind, shown=who)
