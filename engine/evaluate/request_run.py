"""A generator asked for AUs, or given donors, from folders of pictures to metrics.json, a report and sheets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine import backends, blend
from engine.bundle import Parameters, read_manifest
from engine.config import known
from engine.errors import ConfigError, InputError, PortError
from engine.evaluate.changers import Opened
from engine.evaluate.items import Item, Picture, Tools
from engine.evaluate.layout_items import ClipLayoutItem, PortraitLayoutItem
from engine.evaluate.layouts import SYSTEMS, open_layouts
from engine.evaluate.parts import Parts, code_digest, digest, file_digest
from engine.evaluate.request_items import ClipItem, CoupleItem, PortraitItem, RemovalItem
from engine.evaluate.request_report import write_report
from engine.evaluate.requests import JUDGED_AUS, Scores
from engine.evaluate.rules import Exclusion
from engine.evaluate.run import bundle_words
from engine.evaluate.subjects import mode_of, number_of, read_subjects
from engine.evaluate.survey import media_files
from engine.evaluate.transfers import HAS, HAS_NOT, OpenedTransfer, couples
from engine.evaluate.work import Settings
from engine.generators import find_bundle, open_generator
from engine.media import write_picture
from engine.processes import work_in_processes
from engine.types import AU_NAMES, Mode

PROTOCOL = "requests 1"
ATTRIBUTES = ("AU12", "AU25")
"""AUs whose transfer is judged where none are named: a smile, and an open mouth."""
DEFAULT = "mesh_flow"

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a process needs to set up its tools."""

    settings: Settings
    mode: Mode | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """An item, and the key of its part."""

    item: Item
    key: str


def evaluate_requests(
    portraits: Path,
    out: Path,
    *,
    drivers: Path | None = None,
    bundle: str = DEFAULT,
    mode: str | None = None,
    accept: frozenset[str] = frozenset(),
    attributes: Sequence[str] | None = None,
    backend: str = "auto",
    cache: Path | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
    tools: Tools | None = None,
) -> Scores:
    """Ask a generator for AUs on every picture of `portraits`, and on the clips of `drivers`.

    A generator that takes donors is judged by what it brings from picture to picture instead, and one that is told
    layouts by how it follows them, unless a mode is named. Writes into `out`:
    metrics.json, report.html and sheets/; interrupted, it goes on where it was. mode: "puppet" or "edit" (default: the
    first of these that the generator has). attributes: AUs that donors bring (default ATTRIBUTES). jobs: processes, as
    of engine.evaluate.evaluate. tools: what to measure in place of the bundle, in this process.
    Returns what stands in metrics.json. Raises ConfigError: a folder or a name, nothing to measure, or `out` holds
    another kind of evaluation; and whatever opening the bundle raises. A file that cannot be used is listed.
    """
    attributes = [known(name, AU_NAMES, "attributes") for name in attributes or ATTRIBUTES]
    chosen = None if mode is None else Mode(known(mode, [one.value for one in Mode], "mode"))
    plan = Plan(Settings(out.resolve(), bundle, backend, cache, accept), chosen)
    about = _about(plan, tools)
    parts = Parts(plan.settings.folder / "parts")
    jobs = min(2, os.cpu_count() or 1) if jobs is None else jobs
    with _given(tools) if tools is not None else open_tools(plan) as opened:
        items, refused = _items(opened, _pictures(portraits), _pictures(drivers), attributes)
        pieces = [Piece(item, digest(item.kind, *item.contents, *about.values())) for item in items]
        looked = _counter(parts, pieces, progress)
        looked()
        alone = tools is not None or jobs < 2 or len(pieces) < 2
        for piece in pieces if alone else ():
            carry_out(piece, opened, plan.settings.folder, looked)
    if not alone:
        work_in_processes(pieces, partial(open_work, plan), jobs, looked)
    return write_report(plan.settings.folder, parts, [(one.item, one.key) for one in pieces], refused, about)


@contextmanager
def open_tools(plan: Plan) -> Iterator[Tools]:
    """The shipped tracker and the bundle. Raises MarotteError when either cannot be opened."""
    from engine.track.face import FaceTracker
    from engine.track.person import PersonSegmenter

    settings = plan.settings
    with ExitStack() as stack:
        tracker = stack.enter_context(
            closing(FaceTracker(max_faces=1, backend=settings.backend, cache=settings.cache))
        )
        segmenter = stack.enter_context(
            closing(PersonSegmenter(backend=settings.backend, cache=settings.cache))
        )
        blend.warm_up()
        if takes_layouts(plan):
            tools = Tools(tracker, segmenter)
            tools.layouts = stack.enter_context(
                open_layouts(settings.bundle, settings.backend, settings.accept)
            )
            default, its_runner = open_generator(DEFAULT)
            stack.callback(its_runner.close)
            tools.changers = (Opened(default, its_runner),)
            yield tools
            return
        generator, runner = open_generator(settings.bundle, backend=settings.backend, accept=settings.accept)
        stack.callback(runner.close)
        mode = _mode(plan, generator.modes)
        parameters = parameters_of(settings.bundle)
        tools = Tools(tracker, segmenter, aus=_judged(parameters), measured=_measured(parameters))
        if mode is Mode.EDIT and generator.takes_source(mode):
            tools.transfer = tools.removal = OpenedTransfer(generator, runner)
        elif "au_offsets" not in generator.heeds:
            raise ConfigError(
                f"requests: {settings.bundle} takes neither action units nor donors nor layouts; draw its edits with "
                "marotte sweep, or measure its border with --border"
            )
        else:
            tools.changers = (Opened(generator, runner, mode),)
            if settings.bundle != DEFAULT:
                default, its_runner = open_generator(DEFAULT)
                stack.callback(its_runner.close)
                tools.changers += (Opened(default, its_runner),)
        yield tools


def _mode(plan: Plan, modes: frozenset[Mode]) -> Mode:
    wanted = plan.mode or (Mode.PUPPET if Mode.PUPPET in modes else Mode.EDIT)
    if wanted not in modes:
        offered = ", ".join(sorted(mode.value for mode in modes))
        raise ConfigError(
            f"mode: got {wanted.value!r}, expected one that {plan.settings.bundle} has: {offered}"
        )
    return wanted


def parameters_of(bundle: str) -> Parameters | None:
    """What the bundle's manifest says that a generator has to know; None for what needs no bundle."""
    folder = find_bundle(bundle)
    return None if folder is None else read_manifest(folder).parameters


def takes_layouts(plan: Plan) -> bool:
    """Whether the bundle is asked for layouts: one that is told layouts, unless a mode of its generator is named."""
    folder = find_bundle(plan.settings.bundle)
    return plan.mode is None and folder is not None and read_manifest(folder).system in SYSTEMS


def _measured(parameters: Parameters | None) -> str:
    """As the AUs were that the bundle was trained on."""
    return mode_of(None if parameters is None else parameters.extractor)


def _judged(parameters: Parameters | None) -> tuple[str, ...]:
    """Those that can be measured, of those that the bundle was trained on."""
    if parameters is None or not parameters.aus:
        return JUDGED_AUS
    judged = tuple(name for name in JUDGED_AUS if name in parameters.aus)
    if not judged:
        raise ConfigError(
            f"bundle: it was trained on {', '.join(parameters.aus)}, of which none can be measured again; expected "
            f"some of {', '.join(JUDGED_AUS)}"
        )
    return judged


@contextmanager
def _given(tools: Tools) -> Iterator[Tools]:
    yield tools


@contextmanager
def open_work(plan: Plan) -> Iterator[Callable[[Piece, Callable[[], None]], None]]:
    """The tools as what carries out a piece in a process of its own."""
    with open_tools(plan) as tools:
        yield lambda piece, finished: carry_out(piece, tools, plan.settings.folder, finished)


def carry_out(piece: Piece, tools: Tools, folder: Path, finished: Callable[[], None]) -> None:
    """Measure one piece where its part is missing or damaged."""
    parts = Parts(folder / "parts")
    picture = parts.path(piece.key).with_suffix(".png")
    part = parts.load(piece.key)
    if part is not None and ("refused" in part or ("scores" in part and picture.is_file())):
        return
    try:
        scores, sheet = piece.item.measure(tools)
    except (
        InputError,
        PortError,
    ) as error:  # a picture that cannot be used, or an answer that cannot be shown
        parts.save(piece.key, {"refused": str(error)})
    else:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_picture(picture, sheet)
        parts.save(piece.key, {"scores": scores})
    finished()


def _items(
    tools: Tools,
    portraits: Sequence[Picture],
    clips: Sequence[Picture],
    attributes: Sequence[str],
) -> tuple[list[Item], list[Exclusion]]:
    if tools.transfer is None:
        of_clip, of_portrait = (
            (ClipItem, PortraitItem) if tools.layouts is None else (ClipLayoutItem, PortraitLayoutItem)
        )
        items: list[Item] = [of_clip(one) for one in clips]  # the longest first
        items += [of_portrait(one) for one in portraits]
        if not items:
            raise ConfigError("portraits: no file in that folder; expected pictures with a face")
        return items, []
    by_name = {one.name: one for one in portraits}
    subjects, reasons = read_subjects({one.name: one.path for one in portraits}, tools.tracker)
    refused = [Exclusion(f"portrait {name}", "all", reason) for name, reason in reasons.items()]
    found: list[Item] = []
    for attribute in attributes:
        pairs = couples(subjects, attribute)
        found += [CoupleItem(by_name[one.name], by_name[other.name], attribute) for one, other in pairs]
        having = [one for one in subjects if one.reading.aus[number_of(attribute)] >= HAS]
        without = by_name[pairs[0][0].name] if pairs else None
        found += [RemovalItem(by_name[one.name], without, attribute) for one in having]
    if not any(isinstance(item, CoupleItem) for item in found):
        raise ConfigError(
            f"portraits: nobody to bring {' or '.join(attributes)} from or to; expected faces with it (measured at "
            f"{HAS} or more) and without it (below {HAS_NOT})"
        )
    return found, refused


def _pictures(folder: Path | None) -> list[Picture]:
    if folder is None:
        return []
    return [Picture(name, path, file_digest(path)) for name, path in media_files(folder).items()]


def _about(plan: Plan, tools: Tools | None) -> dict[str, str]:
    """Everything beside the files themselves that decides a result, in words."""
    mode = "" if plan.mode is None else f" in {plan.mode.value} mode"
    measured = _measured(parameters_of(plan.settings.bundle)) if tools is None else tools.measured
    about = {"code": code_digest()[:16], "protocol": PROTOCOL, "action units": f"{measured} mode"}
    if tools is not None:
        names = [one.name for one in tools.changers]
        if tools.layouts is not None:
            names.insert(0, tools.layouts.name)
        return {"generator": ", ".join(names)} | about
    choice = backends.choose(plan.settings.backend)
    return {
        "generator": bundle_words(plan.settings.bundle) + mode,
        **about,
        "backend": f"{choice.name} ({choice.reason})",
    }


def _counter(parts: Parts, pieces: Sequence[Piece], progress: Progress | None) -> Callable[[], None]:
    keys = [piece.key for piece in pieces]

    def looked() -> None:
        if progress is not None:
            progress(parts.there(keys), len(keys))

    return looked
