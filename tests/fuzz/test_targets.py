"""Every target for a moment: what it is meant to read, and that damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.fuzz.targets import TARGETS, Target, run


@some.composite
def damaged(draw: some.DrawFn, target: Target, seeds: list[bytes]) -> bytes:
    """A seed with pieces overwritten, taken out, doubled, or of the target's own words."""
    data = draw(some.sampled_from([*seeds, b""]))[: target.most]
    for _ in range(draw(some.integers(0, 4))):
        start = draw(some.integers(0, len(data)))
        end = min(len(data), start + draw(some.sampled_from([0, 1, 2, 4, 8, 64, 512])))
        pieces = [some.just(b""), some.just(data[start:end] * 2), some.binary(max_size=8)]
        if target.words:
            pieces.append(some.sampled_from(target.words))
        data = data[:start] + draw(some.one_of(pieces)) + data[end:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_meant_is_read(name: str) -> None:
    """Each seed ends well, so that what is damaged afterwards was right before."""
    target = TARGETS[name]
    for seed in target.seeds():
        assert len(seed) <= target.most
        target.one(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_damaged_is_read_or_refused(name: str) -> None:
    """With a MarotteError, and with nothing else, whatever was done to it."""
    target = TARGETS[name]

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(damaged(target, target.seeds()))
    def check(data: bytes) -> None:
        run(target, data)

    check()


def test_what_was_found_stays_mended() -> None:
    """Inputs that once ended in another error, or took too long, by the name of their target."""
    for path in sorted(Path(__file__).with_name("found").glob("*.*")):
        run(TARGETS[path.name.partition(".")[0]], path.read_bytes())
