"""What is said before anything else is: the options' own words, and the line of `make`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import marotte

PROJECT = Path(__file__).resolve().parent.parent


def _below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from _below(one)


def test_every_option_says_what_it_is() -> None:
    """No name in `--help` stands without words."""
    parsers = list(_below(marotte._parser()))
    assert len(parsers) > 10
    silent = [
        f"{parser.prog} {action.option_strings or action.dest}"
        for parser in parsers
        for action in parser._actions
        if not action.help and not isinstance(action, argparse._SubParsersAction)
    ]
    assert not silent


# Stands for the Python that makes the environment, and for what is in it.
_STUB = """#!/bin/sh
echo "$(basename $0) $*"
if [ "$2" = venv ]; then
    mkdir -p "$3/bin"
    for name in python marotte; do cp "$0" "$3/bin/$name"; done
fi
"""


@pytest.mark.skipif(os.name != "posix" or shutil.which("make") is None, reason="needs make and a POSIX shell")
@pytest.mark.parametrize("target", ["run", "test"])
def test_make_says_that_it_sets_up(target: str, tmp_path: Path) -> None:
    """One line before pip is silent for a minute; once all is there, nothing is said or done again."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copyfile(PROJECT / name, tmp_path / name)
    stub = tmp_path / "stub"
    stub.write_text(_STUB, encoding="utf-8")
    stub.chmod(0o755)

    def made() -> list[str]:
        line = ["make", "-s", target, f"PYTHON={stub}"]
        return subprocess.run(
            line, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.splitlines()

    first = made()
    assert first[0] == "setting up .venv, about a minute"
    assert [line.split()[:3] for line in first[1:3]] == [["stub", "-m", "venv"], ["python", "-m", "pip"]]
    assert first[2].split()[-1] == (".[dev]" if target == "test" else ".")
    assert first[3].split()[:3] == ["python", "-m", "compileall"]
    assert made() == first[4:]


def test_the_files_that_workers_begin_with_are_there() -> None:
    """One that was renamed would come last, and nobody would see it."""
    from tests.conftest import LONGEST

    assert [name for name in LONGEST if not (PROJECT / "tests" / name).is_file()] == []
