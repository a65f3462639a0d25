"""The live figures for a terminal."""

from __future__ import annotations

from typing import Any

_TITLES = {"browser": "browser to browser", "echo": "identity echo", "engine": "through the engine"}


def table(content: dict[str, Any]) -> str:
    """What stands in live.json, as lines for people."""
    about = content["about"]
    lines = [f"{about['size'][0]} x {about['size'][1]} at {about['rate']} fps, driver: {about['driver']}"]
    if "bundle" in about:
        lines[0] += f", {about['bundle']} ({about['mode']})"
    for codec, part in content["codecs"].items():
        lines += ["", *_codec(codec, part)]
    if content["interrupted"]:
        lines += ["", "interrupted: these are the figures until then"]
    return "\n".join(lines)


def _codec(codec: str, part: dict[str, Any]) -> list[str]:
    times = f"{'p50 ms':>9}{'p95 ms':>9}{'fps':>7}{'shown':>7}{'sent':>7}"
    columns = f"{times}{'jitter ms':>11}{'kb/s':>7}{'server CPU':>12}"
    lines = [f"{codec.upper():<20}{columns}"]
    for way, title in _TITLES.items():
        if part.get(way, {}).get("windows"):
            lines.append(f"{title:<20}{_row(part[way])}")
    if "long" in part:
        lines.append(f"{'one long call':<20}{_row(part['long'])}")
    for name, title in (("echo_added", "echo adds"), ("added", "engine adds")):
        if name in part:
            more = part[name]
            ratio = _number(more["fps_ratio"], 7, 2)
            lines.append(
                f"{title:<20}{_number(more['p50_ms'], 9)}{_number(more['p95_ms'], 9)}{ratio} of the rate"
            )
    return [*lines, *_engine(part), *_verdicts(part)]


def _row(row: dict[str, Any]) -> str:
    cpu = row.get("server_cpu")
    return (
        _number(row["g2g_p50_ms"], 9)
        + _number(row["g2g_p95_ms"], 9)
        + _number(row["fps"], 7)
        + _number(row["shown_fps"], 7)
        + _number(row["sent_fps"], 7)
        + _number(row["jitter_buffer_ms"], 11)
        + _number(row["received_kbps"], 7, 0)
        + ("" if cpu is None else f"{100 * cpu:>11.0f}%")
    )


def _number(value: float | None, width: int, digits: int = 1) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"


def _engine(part: dict[str, Any]) -> list[str]:
    lines = []
    windows = part.get("windows", {}).get("engine") or [{}]
    stages = windows[-1].get("stages_ms") or {}
    encode = windows[-1].get("server_encode_ms")
    if stages and encode is not None:
        stages = stages | {"encode": encode}
    if stages:
        lines.append("stages, ms: " + ", ".join(f"{name} {value:.1f}" for name, value in stages.items()))
    if "long" in part and part["long"].get("growth_ms") is not None:
        long = part["long"]
        lines.append(
            f"first quarter {long['first_ms']:.1f} ms, last quarter {long['last_ms']:.1f} ms: "
            f"growth {long['growth_ms']:+.1f} ms"
        )
    for name, lag in (part.get("motion") or {}).get("lags", {}).items():
        lines.append(
            f"motion lag, {name}: "
            + (
                "not seen"
                if lag is None
                else f"{lag['lag_ms']:+.1f} ms beyond glass-to-glass (correlation {lag['correlation']:.3f})"
            )
        )
    return lines


def _verdicts(part: dict[str, Any]) -> list[str]:
    missed = [name for name, kept in part.get("kept", {}).items() if kept is False]
    return [f"misses its target: {', '.join(missed)}"] if missed else []
