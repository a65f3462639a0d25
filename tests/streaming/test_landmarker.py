"""The operator's MediaPipe beside the page: what is served of it, to whom, and what the page may do with it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.errors import ConfigError
from streaming.config import ServeConfig
from streaming.doors import COMPILES, HEADERS
from streaming.front.door import Front
from streaming.landmarker import NEEDED, files_in
from tests.streaming.doorstep import TOKEN, open_site

POLICY = "Content-Security-Policy"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As the package lies there, with a model, and with what is nobody's business."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    made = tmp_path / "tasks-vision"
    (made / "wasm").mkdir(parents=True)
    for name in (*NEEDED, "other.task", "package.json", "wasm/notes.txt"):
        (made / name).write_text(f"of {name}")
    (tmp_path / "secret.js").write_text("secret")
    (made / "wasm" / "link.js").symlink_to(tmp_path / "secret.js")
    return made


def test_what_is_served_is_the_package_and_its_model(folder):
    """By name, with the types that a browser compiles by, to whoever has a token; nothing else of the folder."""
    with open_site(ServeConfig(mediapipe=folder)) as site:
        types = {name: site.ask("GET", f"/mediapipe/{name}") for name in NEEDED}
        assert {name: answer.body.decode() for name, answer in types.items()} == {
            name: f"of {name}" for name in NEEDED
        }
        assert types["wasm/vision_wasm_internal.wasm"].headers["Content-Type"] == "application/wasm"
        assert types["vision_bundle.mjs"].headers["Content-Type"].startswith("text/javascript")
        assert site.ask("GET", "/mediapipe/vision_bundle.mjs", token=None).status == 401
        for name in (
            "other.task", "package.json", "wasm/notes.txt", "wasm/link.js", "../secret.js", "wasm/%2e%2e/package.json",
            "", "wasm",
        ):  # fmt: skip
            assert site.ask("GET", f"/mediapipe/{name}").status in (400, 404)
        assert site.ask("GET", "/api/v1/info").json["mediapipe"] is True


def test_the_page_compiles_only_where_it_has_something_to(folder):
    """WebAssembly may be compiled by the page of such a server alone, and text is evaluated by none."""
    with open_site(ServeConfig(mediapipe=folder)) as site:
        page = site.ask("GET", "/").headers[POLICY]
        assert "script-src 'self' 'wasm-unsafe-eval';" in page
        assert "'unsafe-eval'" not in page
        assert page.replace(" 'wasm-unsafe-eval'", "") == HEADERS[POLICY]
        assert site.ask("GET", "/api/v1/info").headers[POLICY] == HEADERS[POLICY]
    with open_site() as site:
        assert site.ask("GET", "/").headers[POLICY] == HEADERS[POLICY]
        assert site.ask("GET", "/mediapipe/vision_bundle.mjs").status == 404
        assert site.ask("GET", "/api/v1/info").json["mediapipe"] is False


def test_a_door_before_several_servers_does_too(folder):
    """The page that it hands on may compile as well, and its files' paths are handed on whole."""
    made = Front(SimpleNamespace(servers=()), ServeConfig(mediapipe=folder, port=1), TOKEN).app()
    assert made[COMPILES]
    name = "/mediapipe/wasm/vision_wasm_internal.js"
    assert any(
        resource.get_info()["pattern"].fullmatch(name)
        for resource in made.router.resources()
        if "pattern" in resource.get_info()
    )
    assert not Front(SimpleNamespace(servers=()), ServeConfig(port=1), TOKEN).app()[COMPILES]


def test_a_folder_that_lacks_something_is_said(folder):
    """Before anything is served: which file, and where it comes from."""
    (folder / "face_landmarker.task").unlink()
    with pytest.raises(ConfigError, match=r"lacks face_landmarker\.task.*tasks-vision"):
        ServeConfig(mediapipe=folder)
    with pytest.raises(ConfigError, match="lacks"):
        files_in(folder / "nowhere")
