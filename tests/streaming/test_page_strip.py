"""The page's strip and the server's are one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from engine.types import U8
from engine.worker.interface import NO_MARK
from streaming import strip
from streaming.pages import STATIC

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = pytest.mark.usefixtures("chromium")

NUMBERS = [0, 1, 0x5A5A5A, 0x800001, strip.NUMBERS - 1]
SIZES = [(640, 480), (1280, 720), (500, 375), (320, 240)]
CELLS = "number => import('/strip.js').then((it) => it.cells(number))"
DRAW = """async ([width, height, number]) => {
    const strip = await import("/strip.js");
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    strip.draw(context, width, height, number);
    const { data } = context.getImageData(0, 0, width, height);
    const levels = data.filter((_, at) => at % 4 === 0);
    const tall = strip.stripHeight(height);
    return [[...levels.subarray(0, width * tall)], levels.subarray(width * tall).some((level) => level > 0)];
}"""
READ = """async ([width, levels]) => {
    const strip = await import("/strip.js");
    const data = new Uint8Array(levels.flatMap((level) => [level, level, level, 255]));
    return strip.read({ data, width, height: levels.length / width });
}"""


@pytest.fixture(scope="module")
def page(chromium: None) -> Iterator[Any]:
    from streaming.bench.chromium import open_browser

    with open_browser(None) as browser:
        page = browser.new_page()
        page.route("**/*", lambda route: route.fulfill(body="", content_type="text/html"))
        page.route(
            "**/strip.js",
            lambda route: route.fulfill(path=STATIC / "strip.js", content_type="text/javascript"),
        )
        page.goto("http://localhost:1/")
        yield page


def documented(number: int) -> list[bool]:
    """The cells of docs/live.md, by division of polynomials."""
    rest = number << 8
    for place in range(23, -1, -1):
        if rest >> (place + 8) & 1:
            rest ^= 0b1_0000_0111 << place
    bits = f"{number:024b}{rest:08b}"
    return [True, False, *(bit == "1" for bit in bits), False, True]


@pytest.mark.parametrize("number", NUMBERS)
def test_cells_are_those_of_the_document(page, number: int) -> None:
    """Guards, number and CRC-8, highest bit first."""
    assert page.evaluate(CELLS, number) == documented(number)


@pytest.mark.parametrize("size", SIZES)
def test_what_the_page_draws_the_server_reads_and_back(page, size: tuple[int, int]) -> None:
    """Both halves agree, in sizes that 36 does not divide too."""
    width, height = size
    for number in NUMBERS[2:4]:
        levels, below = page.evaluate(DRAW, [width, height, number])
        drawn = np.zeros((height, width), np.uint8)
        drawn[: strip.rows_of(height)] = np.reshape(levels, (-1, width))
        assert strip.read(drawn) == number
        assert not below
        assert page.evaluate(READ, [width, rows(server_drawn(size, number), size)]) == number


def test_both_draw_the_same_cells(page) -> None:
    """The edge between two cells falls on the same column."""
    for width in (641, 500, 360):
        drawn = np.reshape(page.evaluate(DRAW, [width, 256, 0x5A5A5A])[0], (-1, width))
        cells = (2 * np.arange(width) + 1) * strip.CELLS // (2 * width)
        assert np.array_equal(drawn[0] > 0, np.array(documented(0x5A5A5A))[cells])


def test_a_doubtful_strip_is_no_number(page) -> None:
    """Nothing, low contrast, a wrong guard and a flipped bit are dropped by both."""
    size = (640, 480)
    good = server_drawn(size, 0x5A5A5A)
    flat, swapped, flipped = np.full_like(good, 90), good.copy(), good.copy()
    faint = np.asarray(good // 4 + 60, np.uint8)
    swapped[: strip.rows_of(480), :36] = swapped[: strip.rows_of(480), 35::-1]
    flipped[: strip.rows_of(480), 180:196] = 251 - flipped[: strip.rows_of(480), 180:196]
    for planes in (flat, faint, swapped, flipped):
        luma = np.ascontiguousarray(planes[:480])
        assert strip.read(luma) == NO_MARK
        assert page.evaluate(READ, [640, rows(planes, size)]) == NO_MARK
    noisy = cv2.blur(good, (5, 5))
    assert page.evaluate(READ, [640, rows(noisy, size)]) == 0x5A5A5A


def server_drawn(size: tuple[int, int], number: int) -> U8:
    width, height = size
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    strip.draw(planes[: height // 2 * 3], number)
    return planes


def rows(planes: U8, size: tuple[int, int]) -> list[int]:
    return planes[: strip.rows_of(size[1])].ravel().tolist()
