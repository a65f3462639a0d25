"""`marotte token`, as it is typed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import marotte
from streaming.tokens import Tokens, key_of

SECRET = "a secret of sixteen letters or more"


@pytest.fixture(autouse=True)
def _no_token_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAROTTE_TOKEN", raising=False)


def test_it_prints_a_token_that_the_server_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Alone on standard output, for a script; signed by the file or the environment, whichever the server has too."""
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    asked = ["token", "--scope", "view:demo", "--scope", "metrics", "--for", "1.5h"]
    texts = []
    for words in (["--token-file", str(file)], ["--token-key-file", str(file)], []):
        if not words:
            monkeypatch.setenv("MAROTTE_TOKEN", SECRET)
        assert marotte.main([*asked, *words]) == 0
        said = capsys.readouterr()
        texts.append(said.out.removesuffix("\n"))
        assert "metrics, view:demo until 2" in said.err
        assert SECRET not in said.out + said.err
    for text in texts:
        token = Tokens(key_of(SECRET)).read(text)
        assert list(map(str, token.scopes)) == ["metrics", "view:demo"]
        assert token.expires_s - token.issued_s == 5400
        assert abs(token.issued_s - time.time()) < 60


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scope", "api"], "nothing to sign with"),
        (["--scope", "views:demo"], "did you mean 'view'"),
        (["--scope", "api", "--for", "2"], "as 90s, 30m, 2h or 7d"),
        (["--scope", "api", "--for=-2h"], "as 90s, 30m, 2h or 7d"),
        (["--scope", "api", "--for", "900d", "--token-file", "FILE"], "days"),
        (["--scope", "api", "--token-key-file", "SHORT"], "16 bytes"),
        (["--scope", "api", "--token-file", "FILE", "--token-key-file", "FILE"], "one of the two"),
        (["--scope", "api", "--token-key-file", "EMPTY"], "token-key-file: "),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """And nothing on standard output, which a script would take for a token."""
    for name, text in (("FILE", SECRET), ("SHORT", "short"), ("EMPTY", "\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    given = [str(tmp_path / word) if word in ("FILE", "SHORT", "EMPTY") else word for word in words]
    assert marotte.main(["token", *given]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert said in written.err
    assert len(written.err.splitlines()) == 1
