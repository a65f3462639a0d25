"""The page's files by themselves: types, colours, and nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from streaming.pages import STATIC

TYPESCRIPT = "typescript@5.9.3"
COLOUR = re.compile(r"--([a-z-]+): #([0-9a-f]{6}|[0-9a-f]{3});")


def test_the_modules_are_sound_in_type() -> None:
    """`tsc --checkJs --strict` finds nothing."""
    npx = shutil.which("npx")
    if npx is None:
        pytest.skip("npx is not installed: the page's types are not checked")
    done = subprocess.run(
        [npx, "--yes", "--package", TYPESCRIPT, "tsc", "--project", str(STATIC / "jsconfig.json")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if done.returncode and "error TS" not in done.stdout and "npm " in done.stderr:
        pytest.skip(f"npx could not fetch {TYPESCRIPT}: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout


def palettes() -> dict[str, dict[str, str]]:
    text = (STATIC / "base.css").read_text(encoding="utf-8")
    dark, light = text.split("@media (prefers-color-scheme: light)", 1)
    return {
        "dark": dict(COLOUR.findall(dark)),
        "light": dict(COLOUR.findall(light.split("*, ::before", 1)[0])),
    }


def luminance(colour: str) -> float:
    if len(colour) == 3:
        colour = "".join(2 * digit for digit in colour)
    levels = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_colours_are_told_apart(scheme: str) -> None:
    """WCAG AA: 4.5 for text, 3 for what is drawn, in both schemes."""
    colours = {"on-accent": "ffffff"} | palettes()[scheme]
    texts = [(text, ground) for text in ("text", "muted") for ground in ("ground", "surface", "raised")]
    texts += [("on-accent", "accent"), ("on-accent", "accent-over"), ("live", "surface"), ("live", "raised")]
    texts += [("bad", "raised"), ("text", "warn-ground"), ("text", "bad-ground")]
    drawn = [
        (edge, ground) for edge in ("edge", "focus", "live") for ground in ("ground", "surface", "raised")
    ]
    drawn += [(tone, "surface") for tone in ("good", "warn", "bad")]
    poor = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in texts + drawn}
    assert not {pair: ratio for pair, ratio in poor.items() if ratio < (4.5 if pair in texts else 3)}


def test_nothing_is_fetched_from_elsewhere_or_written_inline() -> None:
    """Every address is the page's own, and the content security policy finds nothing to forbid."""
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        foreign = [found for found in re.findall(r"https?://[^\s\"'`)]+", text) if not _harmless(found)]
        assert not foreign, path.name
        if path.suffix == ".html":
            assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|javascript:", text)


def _harmless(address: str) -> bool:
    return address.startswith(("http://www.w3.org/", "http://127.0.0.1", "http://localhost"))


def test_files_stay_small(tmp_path: Path) -> None:
    """No file that people write past 400 lines."""
    long = {
        path.name: lines
        for path in STATIC.iterdir()
        if not path.name.endswith(".d.ts") and (lines := path.read_text(encoding="utf-8").count("\n")) > 400
    }
    assert not long
