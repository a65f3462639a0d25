"""marotte.js for those who write TypeScript."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.streaming.declarations import FILE, declarations, npx

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(shutil.which("npx") is None, reason="npx is not installed"),
]

SITE = """
import { connect, watch, Session, type Options, type Change } from "./marotte.js";
const options: Options = { server: "https://face.example", token: "t", mode: "puppet" };
const session: Session = connect(options);
const change: Change = { expression: { name: "happy", intensity: 0.6 } };
const number: Promise<number> = session.change(change);
session.mute(true);
const stream: MediaStream | null = session.stream;
watch({ stream: "a" }).stop();
// @ts-expect-error no such mode
connect({ mode: "swap" });
// @ts-expect-error no such method
session.sing();
void number, stream;
"""


def test_the_declarations_are_those_of_the_module():
    """A site's compiler is told what the module is now, not what it was."""
    assert FILE.read_text(encoding="utf-8") == declarations()


def test_a_site_in_typescript_is_checked(tmp_path: Path):
    """What a site does right passes its strict compiler, and what it does wrong does not."""
    shutil.copy(FILE, tmp_path)
    (tmp_path / "site.ts").write_text(SITE, encoding="utf-8")
    options = {"target": "ES2022", "module": "ES2022", "moduleResolution": "bundler", "strict": True,
               "lib": ["ES2022", "DOM", "DOM.Iterable"], "types": [], "noEmit": True}  # fmt: skip
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["site.ts"]}))
    npx("tsc", "--project", "tsconfig.json", folder=tmp_path)
