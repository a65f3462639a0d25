"""The page that makes the calls, from Python's side: page.js does the work."""

from __future__ import annotations

import base64
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import BackendError
from streaming.bench.chromium import open_browser
from streaming.bench.clip import RATE, SIZE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

ADDRESS = "http://127.0.0.1/bench/"
"""Nothing listens there: the page comes out of this package, and a loopback address may open a camera."""

_KINDS = {".html": "text/html", ".js": "text/javascript"}
_CONNECT_MS = 20_000

Kept = list[tuple[int, float, bytes]]
"""Pictures: number on its strip (or -1), page time in milliseconds, JPEG."""


class CallPage:
    """Calls that carry one numbered camera picture; see page.js.

    Every `name` is a call's, made anew by `call_local` or `call_server`. Errors of the page are raised as
    BackendError by the method that met them.
    """

    def __init__(self, page: Page) -> None:
        self._page = page

    def call_local(self, name: str, codec: str) -> None:
        """Browser to browser. codec: "vp8" or "h264"."""
        self._do("([name, codec]) => bench.callLocal(name, codec)", [name, codec])

    def call_server(self, name: str, codec: str, origin: str, token: str, **fields: Any) -> str:
        """Through a server; returns its session. fields: further ones of the request."""
        offer = self._do("([name, codec]) => bench.offer(name, codec)", [name, codec])
        answer = open_session(origin, token, offer | {"driver": "camera", "codec": codec} | fields)
        description = {"sdp": answer["sdp"], "type": answer["type"]}
        self._do("([name, answer]) => bench.answer(name, answer)", [name, description])
        return str(answer["session"])

    def measure(self, name: str, seconds: float) -> dict[str, Any]:
        """What a call does from now on.

        `rows` of (number, drawn, presented, expected on display) in ms; pictures `sent`, `received` (different ones)
        and `presented`; getStats `before` and `after`; the received `codec`; the server's `reports`. With sound also
        when tones left (`beeped`) and came back (`beeps`), and with flashes when the first frame of each was drawn
        (`flashed`) and presented (`flashes`), in ms; of what came back also what came before.
        """
        found: dict[str, Any] = self._do("([name, ms]) => bench.measure(name, ms)", [name, 1000 * seconds])
        return found

    def record(self, name: str, seconds: float, width: int = 320) -> tuple[Kept, Kept]:
        """Small copies of all sent and of all received pictures."""
        ask = [name, 1000 * seconds, width]
        found = self._do("([name, ms, width]) => bench.record(name, ms, width)", ask)
        sent, received = ([(n, t, base64.b64decode(jpeg)) for n, t, jpeg in found[k]] for k in _ENDS)
        return sent, received

    def say(self, name: str, message: dict[str, Any]) -> None:
        """Send a message on a server call's control channel."""
        self._do("([name, message]) => bench.say(name, message)", [name, message])

    def flash(self, on: bool) -> None:
        """Whether the camera's pictures are white while a tone sounds; for calls that send them back."""
        self._do("(on) => bench.flash(on)", on)

    def wait(self, seconds: float) -> None:
        """Let the page go on."""
        self._page.wait_for_timeout(1000 * seconds)

    def close(self) -> None:
        """End every call, and the page."""
        self._page.close()

    def hang_up(self, name: str) -> None:
        self._do("(name) => bench.hangUp(name)", name)

    def _do(self, script: str, argument: Any) -> Any:
        from playwright.sync_api import Error

        try:
            return self._page.evaluate(script, argument)
        except Error as error:
            raise BackendError(f"the browser's page: {error.message}") from error


_ENDS = ("sent", "received")


@contextmanager
def call_page(clip: Path, **asked: Any) -> Iterator[CallPage]:
    """A browser with that camera, and the page with its camera open. asked: as of open_call_page."""
    with open_browser(clip) as browser:
        yield open_call_page(browser, **asked)


def open_call_page(browser: Browser, *, size: tuple[int, int] = SIZE, sound: bool = False) -> CallPage:
    """The page in a browser that is open already. size: (width, height) of what it sends. sound: it beeps once in a
    second."""
    page = browser.new_page()
    page.set_default_timeout(_CONNECT_MS)
    page.route(f"{ADDRESS}**", _serve_from_package)
    page.goto(ADDRESS)
    page.wait_for_function("() => window.bench !== undefined")
    ask = {"width": size[0], "height": size[1], "rate": RATE, "sound": sound}
    page.evaluate("(ask) => bench.start(ask)", ask)
    return CallPage(page)


def _serve_from_package(route: Route) -> None:
    name = route.request.url.removeprefix(ADDRESS) or "page.html"
    folder = "static" if name == "strip.js" else "bench"
    file = resources.files("streaming") / folder / name
    if name not in ("page.html", "page.js", "beeps.js", "strip.js"):
        route.fulfill(status=404)
        return
    route.fulfill(body=file.read_text(encoding="utf-8"), content_type=_KINDS[Path(name).suffix])


def open_session(origin: str, token: str, offer: dict[str, Any], timeout_s: float = 20.0) -> dict[str, Any]:
    """POST /whip, as docs/whip.md has it: {session, sdp, type}. offer: `sdp`, and the options by name. Raises
    BackendError with the server's words."""
    options = {name: value for name, value in offer.items() if name not in ("sdp", "type")}
    options |= {name: ",".join(value) for name, value in options.items() if isinstance(value, list | tuple)}
    request = urllib.request.Request(
        f"{origin}/whip?{urllib.parse.urlencode(options)}",
        str(offer["sdp"]).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            session = answer.headers["Location"].rpartition("/")[2]
            return {"session": session, "sdp": answer.read().decode(), "type": "answer"}
    except urllib.error.HTTPError as error:
        words = error.read(500).decode(errors="replace")
        raise BackendError(f"the server refused the call: status {error.code}: {words}") from error
    except OSError as error:
        raise BackendError(f"the server could not be reached: {error}") from error
