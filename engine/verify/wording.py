"""A verdict as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.provenance.reading import Manifest, Part
from engine.verify.verdict import BadgeSeen, Status, Verdict, WatermarkSeen

_STATES = {
    "absent": "no manifest",
    "not read": "not read",
    "valid": "valid; its signer is on no trust list",
    "trusted": "valid, by a trusted signer",
    "broken": "BROKEN: the file or its manifest was changed after it was signed",
}
_SIGNED_LEAST = 1e-300


def lines(verdict: Verdict) -> Iterator[str]:
    """For a terminal, one finding a line."""
    if verdict.status is Status.UNREADABLE:
        yield f"{verdict.file}: not read: {verdict.why}"
        return
    read = f", {verdict.seconds:g} s of it" if verdict.kind == "video" else ""
    yield f"{verdict.file}: {verdict.kind} of {verdict.size[0]}x{verdict.size[1]}{read}"
    yield _row("badge", badge(verdict.badge))
    yield _row("watermark", watermark(verdict.watermark))
    yield _row("C2PA", _STATES[verdict.c2pa] + (f": {verdict.why}" if verdict.c2pa == "not read" else ""))
    if verdict.manifest is not None:
        yield from (_row("", text) for text in manifest(verdict.manifest))
    for number, one in enumerate(verdict.consent):
        yield _row("" if number else "consent", f"{one.id}: {one.record}")
    yield _row("so", summary(verdict))


def summary(verdict: Verdict) -> str:
    """In a sentence, what the status means."""
    return {
        Status.MARKED: "it is marked as generated or modified by AI",
        Status.NONE: "no mark was found, which does not prove that it is a plain recording",
        Status.BROKEN: "do not rely on what its manifest says",
        Status.UNREADABLE: "it could not be read",
    }[verdict.status]


def badge(seen: BadgeSeen | None) -> str:
    """What was found of it."""
    if seen is None or not seen.found:
        best = "" if seen is None else f" (best likeness {seen.likeness:.2f})"
        return f"none found{best}"
    return f"{seen.text}, {seen.place} (likeness {seen.likeness:.2f})"


def watermark(seen: WatermarkSeen | None) -> str:
    """What was found of it, with the probability that chance made it."""
    if seen is None or not seen.present:
        return "none found"
    of = f"present in {seen.marked} of {seen.windows} stretches, " if seen.windows > 1 else "present, "
    chance = f"by chance at most 1 in {1 / max(seen.probability_of_chance, _SIGNED_LEAST):.0e}"
    if seen.session is None:
        return f"{of}{chance}; what it says could not be read"
    engine = "Marotte" if seen.ours else f"engine {seen.engine:04x}"
    return f"{of}{chance}; {engine}, session {seen.session}, {seen.day}"


def manifest(read: Manifest) -> Iterator[str]:
    """Its words, those of a broken one too."""
    if read.state == "broken" and read.reasons:
        yield "; ".join(read.reasons)
    told = [f"signed by {read.signer}" if read.signer else "", f"at {read.signed}" if read.signed else ""]
    told += [f"made by {read.generator}" if read.generator else "", read.source_type or ""]
    yield ", ".join(filter(None, told))
    bundle = read.made.get("bundle")
    if isinstance(bundle, dict):
        yield f"bundle {str(bundle.get('title'))[:80]!r}, licence {str(bundle.get('licence'))[:80]!r}"
    if read.parts:
        yield f"made of {parts(read.parts)}"


def parts(of: Sequence[Part]) -> str:
    """Ingredients, and in brackets theirs."""
    return ", ".join(_part(one) for one in of)


def _part(one: Part) -> str:
    inner = f" of {parts(one.parts)}" if one.parts else ""
    state = "without a manifest" if one.state is None else f"manifest {one.state}"
    return f"{one.title or 'a file'} ({state}{inner})"


def _row(head: str, text: str) -> str:
    return f"  {head:<10} {text}"
