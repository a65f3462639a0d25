"""Every bad and odd file through the page's upload, beside a session that runs on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest

from engine.sample import sample_portrait
from engine.worker.interface import Delivery, DriverKind, SessionSpec, State, WorkerConfig
from engine.worker.local import LocalWorker
from streaming.config import ServeConfig
from tests.streaming.doorstep import Answer, Site, open_site

CONFIG = WorkerConfig(side=256, add_s=60.0)

# What nobody could animate; whatever stands beside these in the folder is for the engine to judge.
HOPELESS = {
    "audio_only.mp4", "empty.jpg", "empty.mp4", "huge_20000x15000.png", "icon_32px.jpg", "no_face.mp4",
    "no_face_landscape.jpg", "noise.jpg", "one_pixel_wide.png", "png_named_jpg_cat.jpg", "text_named.jpg",
    "tiny_face_24px.jpg", "truncated.jpg", "truncated_no_index.mp4",
}  # fmt: skip


@dataclass(slots=True)
class Shown:
    """The pictures of the running session."""

    sources: set[str] = field(default_factory=set)
    count: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def deliver(self, delivery: Delivery) -> None:
        with self.changed:
            self.sources.add(delivery.source)
            self.count += 1
            self.changed.notify_all()

    def wait_for_more(self) -> None:
        """A further picture; AssertionError where none comes."""
        with self.changed:
            seen = self.count
            assert self.changed.wait_for(lambda: self.count > seen, 30), "the session stands still"


@pytest.fixture(scope="module")
def running(models: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Shown]]:
    """A server in front of a real worker, with a session that shows the sample."""
    worker, shown, ready = LocalWorker(CONFIG), Shown(), threading.Event()
    worker.on_status(lambda status: ready.set() if status.state is not State.STARTING else None)
    worker.start()
    try:
        assert ready.wait(120)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MAROTTE_STATE", str(tmp_path_factory.mktemp("state")))
            with open_site(
                ServeConfig(worker=CONFIG), worker=worker, first=sample_portrait().read_bytes()
            ) as site:
                spec = SessionSpec(site.sources.first.id, DriverKind.DEMO)
                worker.open("running", spec, shown.deliver)
                yield site, shown
                worker.close_session("running")
    finally:
        worker.close()


def _upload(site: Site, path: Path) -> Answer:
    query = urlencode({"name": path.name, "statement": "A file of the tests"})
    return site.ask("POST", f"/api/sources?{query}", path.read_bytes(), within_s=120)


def test_every_hard_file_is_taken_or_told(running: tuple[Site, Shown], faces_root: Path) -> None:
    """201, or one clear line that names the file; meanwhile the running source moves on, and no other is shown."""
    site, shown = running
    first = site.sources.first.id
    taken = set()
    for path in sorted((faces_root / "hard").iterdir()):
        answer = _upload(site, path)
        if answer.status == 201:
            taken.add(path.name)
            assert answer.json["faces"] == 1
            assert site.ask("GET", f"/api/sources/{answer.json['id']}/still.jpg").status == 200
        else:
            kind, message = answer.error
            assert answer.status in (413, 422), (path.name, answer)
            assert path.name in message
            assert len(message) > len(path.name) + 10
            assert kind != "Exception"
        shown.wait_for_more()
    assert taken.isdisjoint(HOPELESS)
    assert {"photo.webp", "cmyk.jpg", "exif_orientation_6.jpg", "vp8.webm", "black_then_face.mp4"} <= taken
    assert shown.sources == {first}
    assert site.ask("GET", "/readyz", token=None).status == 200
