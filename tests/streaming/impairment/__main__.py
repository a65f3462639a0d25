"""The impairment matrix: `python -m tests.streaming.impairment [--out FILE] [--only TEXT] [--codec C] [--seed N]`.

One call for each row of tests/streaming/impairment/matrix.py, between an aiortc client and the server's own session in
a process of its own, through a relay that impairs both directions by seeds. The table is printed, and written between
the marks of --out where that is given. Ends with 1 where a row does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from tests.streaming.impairment.matrix import ROWS, Result, Row, judge, table
from tests.streaming.impairment.near import moving, watch
from tests.streaming.impairment.relay import Relay

SIZE = (640, 480)
BEGIN, END = "<!-- matrix -->", "<!-- end of matrix -->"


async def run(row: Row, pictures: list, size: tuple[int, int], codec: str, seed: int) -> Result:
    """One row's call."""
    async with Relay(row.schedule, row.schedule, seed) as relay:
        seen = await watch(relay, row.seconds, pictures, size, codec)
        return judge(row, seen, relay)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.streaming.impairment")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--codec", default="vp8", choices=("vp8", "h264"))
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    pictures, results = moving(SIZE), []
    for row in ROWS:
        if asked.only in row.name:
            results.append(asyncio.run(run(row, pictures, SIZE, asked.codec, asked.seed)))
            print(row.name, *results[-1].cells, results[-1].failed or "held", flush=True)
    print(table(results))
    if asked.out is not None:
        _write(asked.out, table(results))
    return 1 if any(result.failed for result in results) else 0


def _write(path: Path, text: str) -> None:
    before = path.read_text(encoding="utf-8")
    head, rest = before.split(BEGIN)
    _, tail = rest.split(END)
    whole = f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}"
    part = path.with_name(path.name + ".part")
    part.write_text(whole, encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
