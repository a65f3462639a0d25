"""What a session states of itself: signed, checked here and as a browser does, anew when something changes."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.consent import Kind
from engine.errors import StateError
from engine.signing import Signer, canonical
from engine.types import Mode
from engine.worker.interface import BundleInfo
from streaming.pages import STATIC
from streaming.session import Shown
from streaming.statement import Checked, Statements, check, session_hash

SHA, OTHER = "a" * 64, "b" * 64
BUNDLE = BundleInfo("stit", "STIT, enrolled «Ada»", "stit", "CC0-1.0", sha256="c" * 64)
NODE = """
import { readFileSync } from "node:fs";
const { canonical, checkStatement } = await import(process.argv[1]);
const given = JSON.parse(readFileSync(0, "utf8"));
const found = [];
for (const [statement, keys] of given) found.push(await checkStatement(statement, keys));
console.log(JSON.stringify({ found, text: canonical(given[0][0]) }));
"""


class FakeSession:
    """What a statement is made of."""

    def __init__(self) -> None:
        self.id, self.stream = "session-1", "show"
        self.shown = Shown("stit", Mode.PUPPET, SHA, ())
        self.recorded: Any = lambda: None
        self.withheld = ""

    @property
    def in_use(self) -> frozenset[str]:
        return frozenset(one for one in (self.shown.source, *self.shown.donors) if one)

    def consent(self) -> list[Any]:
        """Of the withheld nobody's."""
        shown = [] if self.withheld else sorted(self.in_use)
        return [SimpleNamespace(id=one[:32], kind=Kind.WRITTEN) for one in shown]


def signer() -> Signer:
    return Signer(Ed25519PrivateKey.generate())


def statements(own: Signer, **others: Any) -> Statements:
    return Statements(lambda: own, lambda: (BUNDLE,), marks=("badge", "watermark"), **others)


def stated(of: Statements, session: Any) -> dict[str, Any]:
    return asyncio.run(of.of(session))


def test_it_says_who_what_and_how_and_is_signed() -> None:
    """Source, consent, bundle with its licence, mode, marks, session: each of them changed breaks the signature."""
    own = signer()
    one = stated(statements(own, software="Marotte 1"), FakeSession())
    assert one["source"] == {"sha256": SHA}
    assert one["consent"] == [{"id": "a" * 32, "kind": "written consent"}]
    assert one["bundle"] == {"name": "stit", "title": BUNDLE.title, "licence": "CC0-1.0", "sha256": "c" * 64}
    assert (one["mode"], one["marks"], one["recording"]) == ("puppet", ["badge", "watermark"], False)
    assert (one["session"], one["watermark"]) == ("session-1", session_hash("session-1"))
    assert check(one) == Checked(True, own.public)
    assert check(one, [own.public]).sound
    assert check(json.loads(json.dumps(one))).sound
    for name, value in one.items():
        changed = one | {name: [] if value != [] else ["x"]}
        assert not check(changed).sound, name
    assert not check({name: value for name, value in one.items() if name != "consent"}).sound
    assert "another installation" in check(one, [signer().public]).why


def test_what_is_no_statement_is_told_and_raises_nothing() -> None:
    """From a file of anybody's."""
    for value in (None, 3, [], "x", {}, {"key": "00", "signature": "00"}, {"key": 1, "signature": None}):
        assert check(value).why
        assert not check(value).sound


def test_another_one_is_made_when_something_changes_and_only_then() -> None:
    """The same one again while nothing does; the marks of pass-through are none, an edit's source is the driver."""
    session = FakeSession()
    of = statements(signer())

    async def test() -> None:
        first = await of.of(session)  # type: ignore[arg-type]
        assert await of.of(session) is first  # type: ignore[arg-type]
        session.recorded = lambda: {"id": "x"}
        second = await of.of(session)  # type: ignore[arg-type]
        assert (second["number"], second["recording"]) == (2, True)
        session.shown = Shown("stit", Mode.EDIT, None, (OTHER,))
        third = await of.of(session)  # type: ignore[arg-type]
        assert (third["source"], third["donors"]) == (None, [OTHER])
        assert third["consent"] == [{"id": "b" * 32, "kind": "written consent"}]
        session.withheld = "revoked"
        withheld = await of.of(session)  # type: ignore[arg-type]
        assert (withheld["withheld"], withheld["consent"], check(withheld).sound) == (True, [], True)
        session.withheld = ""
        session.shown = Shown("stit", Mode.PUPPET, "held by stit", ())
        assert (await of.of(session))["source"] == {"held": "held by stit"}  # type: ignore[arg-type]
        session.shown = Shown("", None, None, ())
        last = await of.of(session)  # type: ignore[arg-type]
        assert (last["mode"], last["marks"], last["watermark"], last["bundle"]) == (
            "pass-through",
            [],
            None,
            None,
        )
        assert all(map(check_sound, (first, second, third, last)))

    asyncio.run(test())


def check_sound(statement: dict[str, Any]) -> bool:
    return check(statement).sound


def test_an_old_one_is_made_anew() -> None:
    """So that a statement of yesterday can be told from one of now."""
    clock = SimpleNamespace(now=0.0)
    session, of = FakeSession(), statements(signer(), clock=lambda: clock.now)

    async def test() -> None:
        first = await of.of(session)  # type: ignore[arg-type]
        clock.now = 25 * 3600.0
        assert (await of.of(session))["number"] == first["number"] + 1  # type: ignore[arg-type]

    asyncio.run(test())


def test_without_a_key_it_is_tried_again() -> None:
    """A folder that cannot be written to now may be, later."""
    own, broken = signer(), [True]

    def key() -> Signer:
        if broken:
            raise StateError("no key")
        return own

    of, session = Statements(key, lambda: (BUNDLE,)), FakeSession()

    async def test() -> None:
        with pytest.raises(StateError):
            await of.of(session)  # type: ignore[arg-type]
        broken.clear()
        assert check(await of.of(session)).sound  # type: ignore[arg-type]

    asyncio.run(test())


def test_a_browser_checks_it_alike(tmp_path: Path) -> None:
    """static/check.js by WebCrypto: the same spelling, the same verdicts, whatever was changed."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    own = signer()
    one = stated(statements(own, software='quoted " \\ \t \x1f é 漢 \U0001f600 \u2028'), FakeSession())
    given: list[tuple[Any, list[str]]] = [
        (one, []), (one, [own.public]), (one, [signer().public]), (one | {"mode": "edit"}, []),
        (one | {"key": signer().public}, []), (one | {"signature": "zz"}, []), (one | {"statement": 2}, []),
        ({}, []), (None, []), ([], []), (one | {"key": "00" * 32}, []), (one | {"more": 1}, []),
    ]  # fmt: skip
    done = subprocess.run(
        [node, "--no-warnings", "--input-type=module", "-e", NODE, "--", str(STATIC / "check.js")],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode and "Unknown file extension" in done.stderr:
        pytest.skip("this node does not read the page's modules")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    if told["found"][0]["sound"] is None:
        pytest.skip("this node has no Ed25519")
    assert told["text"].encode() == canonical(one)
    expected = [check(statement, keys) for statement, keys in given]
    assert [(each["sound"], each["why"]) for each in told["found"]] == [
        (one.sound, one.why) for one in expected
    ]
    assert [one.sound for one in expected] == [True, True] + [False] * 10


def test_another_record_is_another_statement() -> None:
    """Though nothing of the picture has changed: one that was revoked is not stated on and on."""
    session, clock = FakeSession(), SimpleNamespace(now=0.0)
    of = statements(signer(), clock=lambda: clock.now)

    async def test() -> None:
        first = await of.of(session)  # type: ignore[arg-type]
        session.consent = lambda: [SimpleNamespace(id="d" * 32, kind=Kind.MYSELF)]  # type: ignore[method-assign]
        clock.now = 1.0
        second = await of.of(session)  # type: ignore[arg-type]
        assert second["consent"] == [{"id": "d" * 32, "kind": "myself"}]
        assert second["number"] == first["number"] + 1
        assert await of.of(session) is second  # type: ignore[arg-type]

    asyncio.run(test())
