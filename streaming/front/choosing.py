"""Which of several servers gets a new session, and what their metrics are together: arithmetic on what they told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_SERIES: Final = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})?( .+)$")
_PLACED: Final = 0.05
"""How much of its headroom a session is taken for that a server was given since it told."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a server said last. left: least of its headroom, 0 .. 1. sessions: that are open. given: since then."""

    left: float = 1.0
    sessions: int = 0
    given: int = 0


def told_by(metrics: str) -> Told:
    """From the text of /metrics."""
    left, sessions = [1.0], 0
    for line in metrics.splitlines():
        if line.startswith("marotte_headroom_ratio{"):
            left.append(float(line.rsplit(" ", 1)[1]))
        elif line.startswith("marotte_sessions "):
            sessions = int(float(line.rsplit(" ", 1)[1]))
    return Told(min(left), sessions)


def ranked(told: Mapping[int, Told]) -> list[int]:
    """Their numbers, the one with the most headroom first, then the one with the fewest sessions."""

    def order(number: int) -> tuple[float, int, int]:
        one = told[number]
        return -round(one.left - _PLACED * one.given, 2), one.sessions + one.given, number

    return sorted(told, key=order)


def together(metrics: Iterable[tuple[int, str]]) -> str:
    """The metrics of all servers as one text: each series with the server's number as `worker`."""
    heads: dict[str, list[str]] = {}
    series: dict[str, list[str]] = {}
    for number, text in metrics:
        family = ""
        for line in text.splitlines():
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                head = heads.setdefault(family, [])
                if line not in head:
                    head.append(line)
            elif found := _SERIES.match(line):
                labels = f"{found[2]}," if found[2] else ""
                told = f'{found[1]}{{{labels}worker="{number}"}}{found[3]}'
                series.setdefault(family, []).append(told)
    return "".join(f"{line}\n" for family in heads for line in [*heads[family], *series.get(family, ())])


def servers_of(gpus: Sequence[str], workers: int) -> list[dict[str, str]]:
    """What each server's environment has besides: one for each GPU, or so many without any."""
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus]
    return [{} for _ in range(workers)]
