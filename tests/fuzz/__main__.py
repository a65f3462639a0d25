"""Inputs that grow by what they reach, for long: `python -m tests.fuzz TARGET --seconds 600`, or `all`.

Needs atheris (`pip install -e '.[fuzz]'`). A fault is an exception that is no MarotteError, an input that takes a
processor more than SLOW_S, or memory that grows by more than GROWN_MB after the first tenth of the time; its input is
left in the folder of `--keep`. An input that was found stands in tests/fuzz/found/ as TARGET.NAME from then on, and is
tried in every run of the tests.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SLOW_S = 1.0
GROWN_MB = 64.0
_LOOK_EVERY = 2000
_STARTED_S = 60.0  # imports and compiled kernels


class SlowError(Exception):
    """An input took too long."""


class GrownError(Exception):
    """Memory was kept."""


def watched(one: Callable[[bytes], None], seconds: float) -> Callable[[bytes], None]:
    """The same function, whose time and memory are looked at."""
    begun = time.monotonic()
    count, settled = 0, None

    def looked(data: bytes) -> None:
        nonlocal count, settled
        count += 1
        before = time.thread_time()
        one(data)
        took = time.thread_time() - before
        if took > SLOW_S and count > 100:  # the first ones import and compile
            raise SlowError(f"{took:.2f} s of processor time for {len(data)} bytes")
        if count % _LOOK_EVERY == 0 and time.monotonic() - begun > seconds / 10:
            now = _resident_mb()
            settled = now if settled is None else settled
            if now - settled > GROWN_MB:
                raise GrownError(f"from {settled:.0f} to {now:.0f} MB in {count} inputs")

    return looked


def _resident_mb() -> float:
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * 4096 / 1e6


def fuzz(name: str, seconds: float, keep: Path) -> None:
    """Run one target in this process, which libFuzzer ends."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # it cannot compile what counts its own branches
    import atheris

    with atheris.instrument_imports(include=["engine", "streaming"]):
        from tests.fuzz import targets

        target = targets.TARGETS[name]
        seeds = target.seeds()
        for seed in seeds:
            targets.run(target, seed)
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus, words = Path(folder) / "corpus", Path(folder) / "words"
        corpus.mkdir()
        found = (Path(__file__).with_name("found")).glob(f"{name}.*")
        for number, seed in enumerate([*seeds, *(path.read_bytes() for path in found)]):
            (corpus / str(number)).write_bytes(seed[: target.most])
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words), "ascii")
        options = [
            f"-max_total_time={int(seconds)}", f"-max_len={target.most}", "-timeout=20",
            "-rss_limit_mb=3000", f"-artifact_prefix={keep}/{name}.", "-print_final_stats=1", "-verbosity=0",
        ]  # fmt: skip
        if target.words:
            options.append(f"-dict={words}")
        run = watched(lambda data: targets.run(target, data), seconds)
        atheris.Setup([sys.argv[0], *options, str(corpus)], run)
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> int:
    """Status 0, 1 where a target found a fault, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", help="one of the table in tests/fuzz/targets.py, or all")
    parser.add_argument("--seconds", type=float, default=600.0, metavar="S", help="for each target (600)")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz"), metavar="DIR", help="inputs that were found (fuzz)"
    )
    options = parser.parse_args()
    from tests.fuzz.targets import TARGETS

    if options.target != "all" and options.target not in TARGETS:
        parser.error(f"no target {options.target!r}; expected all, {', '.join(TARGETS)}")
    try:
        import atheris  # noqa: F401
    except ImportError:
        parser.error(
            "atheris is not installed; run: python -m pip install -e '.[fuzz]' (it exists for Linux)"
        )
    if options.target != "all":
        fuzz(options.target, options.seconds, options.keep)
        return 0
    faults = []
    for name in TARGETS:
        print(f"fuzz: {name}, {options.seconds:g} s", flush=True)
        words = [
            sys.executable,
            "-m",
            "tests.fuzz",
            name,
            "--seconds",
            f"{options.seconds:g}",
            "--keep",
            options.keep,
        ]
        if subprocess.run(words, check=False, timeout=options.seconds + _STARTED_S * 5).returncode:
            faults.append(name)
    print(f"fuzz: {f'faults in {chr(44).join(faults)}' if faults else 'no faults'}", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
