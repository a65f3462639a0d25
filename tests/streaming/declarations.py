"""The declarations of marotte.js for TypeScript, from its own JSDoc: `python -m tests.streaming.declarations`.

They are one file, streaming/static/marotte.d.ts, so that a site takes one beside the modules. npx fetches the compiler.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from streaming.pages import STATIC
from tests.streaming.test_page_text import TYPESCRIPT

BUNDLER = "dts-bundle-generator@9.5.1"
FILE = STATIC / "marotte.d.ts"
HEAD = "// Written by `python -m tests.streaming.declarations`: change the JSDoc of marotte.js instead.\n"
_OPTIONS = {
    "target": "ES2022",
    "module": "ES2022",
    "moduleResolution": "bundler",
    "lib": ["ES2022", "DOM", "DOM.Iterable"],
    "types": [],
    "strict": True,
}


def npx(*words: str, folder: Path) -> str:
    """What a tool printed. Raises FileNotFoundError without npx, RuntimeError where the tool or npx fails."""
    found = shutil.which("npx")
    if found is None:
        raise FileNotFoundError("npx is not installed")
    done = subprocess.run(
        [found, "--yes", "--package", TYPESCRIPT, "--package", BUNDLER, *words],
        capture_output=True, text=True, timeout=600, check=False, cwd=folder,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {done.stdout.strip()} {done.stderr.strip()}")
    return done.stdout


def declarations() -> str:
    """The file's text."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        emitted = {"allowJs": True, "declaration": True, "emitDeclarationOnly": True, "outDir": "."}
        _project(folder, emitted, [(STATIC / "marotte.js").as_posix()])
        npx("tsc", "--project", "tsconfig.json", folder=folder)
        _project(folder, {}, ["marotte.d.ts"])
        npx("dts-bundle-generator", "--project", "tsconfig.json", "--no-check", "--no-banner",
            "--out-file", "whole.d.ts", "marotte.d.ts", folder=folder)  # fmt: skip
        return HEAD + (folder / "whole.d.ts").read_text(encoding="utf-8")


def _project(folder: Path, further: dict[str, object], files: list[str]) -> None:
    project = {"compilerOptions": {**_OPTIONS, **further}, "files": files}
    (folder / "tsconfig.json").write_text(json.dumps(project), encoding="utf-8")


if __name__ == "__main__":
    FILE.write_text(declarations(), encoding="utf-8")
    print(FILE)
    sys.exit(0)
