"""In place of `marotte enrol`, for tests of who starts it: `fake_enrol.py SYSTEM FILES --weights W --out OUT ...`.

It counts to STEPS in its work folder, a step at a time, and goes on from there; then its bundle is a copy of W/bundle,
with the title and consent that it was given. What it does beside that stands in W, by the names of the files there: "no
face", "crash", "hang" (it heeds nothing), "chatter", "refuse check", "disk full" (once), "grandchild". "steps" holds
their number and "wait" the seconds of each; each start appends its words to "started".
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path


def tell(name: str, content: dict) -> None:
    print(json.dumps({name: content}), flush=True)


def number(path: Path, otherwise: float) -> float:
    return float(path.read_text()) if path.exists() else otherwise


def read() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("system")
    parser.add_argument("files", nargs="*", type=Path)
    for name in ("--weights", "--out", "--work"):
        parser.add_argument(name, type=Path)
    for name in ("--consent", "--title", "--edit", "--accept"):
        parser.add_argument(name)
    for name in ("--check", "--progress-json"):
        parser.add_argument(name, action="store_true")
    return parser.parse_args()


def end_with_input(hangs: bool) -> threading.Event:
    asked = threading.Event()

    def follow() -> None:
        while sys.stdin.readline():
            pass
        asked.set()

    if not hangs:
        threading.Thread(target=follow, daemon=True).start()
    return asked


def fail(kind: str, message: str) -> int:
    tell("failed", {"kind": kind, "message": message})
    print(f"marotte: {message}", file=sys.stderr)
    return 2


def main() -> int:
    options = read()
    faults = options.weights
    if options.check:
        return fail("ConfigError", "the fake was told to refuse") if (faults / "refuse check").exists() else 0
    with (faults / "started").open("a") as file:
        file.write(json.dumps({"words": sys.argv[1:], "nice": os.nice(0), "group": os.getpgrp()}) + "\n")
    asked = end_with_input((faults / "hang").exists())
    if (faults / "chatter").exists():
        print(
            "no json",
            json.dumps([1]),
            json.dumps("text"),
            '{"progress": 3}',
            "{" * 3000,
            sep="\n",
            flush=True,
        )
    if (faults / "grandchild").exists():
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (faults / "grandchild").write_text(str(sleeper.pid))
    if (faults / "no face").exists():
        return fail("NoFaceError", f"{options.files[0].name}: no face in any of its frames")
    return count(options, asked)


def count(options: argparse.Namespace, asked: threading.Event) -> int:
    faults, steps = options.weights, int(number(options.weights / "steps", 3))
    options.work.mkdir(parents=True, exist_ok=True)
    for path in options.files:
        assert path.stat().st_size
    done_file = options.work / "done"
    for done in range(int(number(done_file, 0)) + 1, steps + 1):
        if asked.is_set():
            return 130
        if (faults / "crash").exists() and done == 2:
            os.abort()
        if (faults / "disk full").exists():
            (faults / "disk full").unlink()
            return fail("OSError", "[Errno 28] No space left on device")
        time.sleep(number(faults / "wait", 0.02))
        done_file.with_suffix(".partial").write_text(str(done))
        done_file.with_suffix(".partial").replace(done_file)  # whole, whenever this is killed
        left = None if done == 1 else 0.02 * (steps - done)
        place = {"stage": "tune", "number": 1, "stages": 2, "done": done, "total": steps, "left_s": left}
        tell("progress", place)
    write(options)
    tell("finished", {"lines": [f"{steps} steps were made"]})
    return 0


def write(options: argparse.Namespace) -> None:
    partial = options.out.with_name(f".{options.out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(options.weights / "bundle", partial)
    manifest = partial / "manifest.json"
    stated = {"title": options.title, "consent": options.consent or "a record of the server"}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | stated))
    partial.rename(options.out)


if __name__ == "__main__":
    raise SystemExit(main())
