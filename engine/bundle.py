"""A bundle: a folder that holds one system's weights as graphs, and says everything that is needed to run them.

``open_bundle`` reads ``manifest.json`` and the ONNX files beside it. Nothing is unpickled and no code of the bundle
runs: the manifest is checked against engine/data/bundle_schema.json, each file against its size and SHA-256, and each
graph against what a graph may hold (engine/graph_file.py). The format is described in docs/bundle.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from engine.backends import Graph, open_graph
from engine.bundle_files import names_in, plain_file
from engine.errors import BundleError, ChecksumError, ManifestError, VersionError
from engine.free_batch import is_free, settled
from engine.graph_file import check_graph
from engine.plans import policy
from engine.schema import check, strict_json
from engine.types import Mode

FORMAT: Final = 1
"""Version of the format that is read and written here."""

FRAME: Final = "frame"
"""What the names of graphs begin with that take and give whole frames."""
FRAME_PICTURES: Final = ("frame", "hidden", "frame_out")
"""Their ports whose height and width are the frame's."""

PERSON: Final = "person"
"""The graph of a bundle that holds the pictures of the person that it was tuned to."""

MANIFEST: Final = "manifest.json"
SCHEMA: Final = Path(__file__).parent / "data" / "bundle_schema.json"
RECORD: Final = "consent.json"
"""The record of consent of a bundle that was tuned to a person (docs/consent.md)."""
MOST_MANIFEST: Final = 1 << 20
"""Largest manifest, in bytes."""
MOST_RECORD: Final = 64 << 10
MOST_GRAPHS: Final = 2_000_000_000
"""Most bytes of all graphs together: what one ONNX file can hold."""


@dataclass(frozen=True, slots=True)
class PortInfo:
    """One input or output of a graph.

    shape: 0 where a size is free, which height and width of a frame graph's pictures are (docs/frame_graph.md) and
    nothing else is. dtype: "uint8", "float32" or "int64". range: the lowest and highest value that has a meaning, None
    where there is no bound.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    range: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class GraphInfo:
    """One graph. file: its name in the folder. sha256: hex, of the whole file. bytes: its length."""

    name: str
    file: str
    sha256: str
    bytes: int
    inputs: tuple[PortInfo, ...]
    outputs: tuple[PortInfo, ...]

    def input(self, name: str) -> PortInfo:
        """The input of that name. Raises ManifestError when there is none."""
        return self._port(name, self.inputs, "input")

    def output(self, name: str) -> PortInfo:
        """The output of that name. Raises ManifestError when there is none."""
        return self._port(name, self.outputs, "output")

    def _port(self, name: str, ports: tuple[PortInfo, ...], what: str) -> PortInfo:
        for port in ports:
            if port.name == name:
                return port
        known = ", ".join(port.name for port in ports)
        raise ManifestError(f"graph {self.name!r} has no {what} {name!r}: it has {known}; export it again")


@dataclass(frozen=True, slots=True)
class CropRule:
    """How the square is cut that the graphs see. rule: of engine/crop.py. size: its side in pixels."""

    rule: str
    size: int


@dataclass(frozen=True, slots=True)
class Extractor:
    """What measured the action units of the training. mode: "static" or "dynamic"."""

    name: str
    version: str
    mode: str


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a generator has to know beside its graphs.

    aus: names in the order of the port `aus`, empty where there is none. au_range: the lowest and highest action unit
    that the training asked for. facts: the system's own, by name (refinement_weight of GeoGAN, say).
    """

    crop: CropRule
    aus: tuple[str, ...]
    extractor: Extractor | None
    au_range: tuple[float, float] | None
    modes: frozenset[Mode]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the weights came from, and what they were trained on, with its licence."""

    weights: str
    data: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``manifest.json`` says. licence: SPDX, of the weights. acceptance: the name that has to be accepted before
    the bundle loads. consent: who agreed to the use of the faces in the data. parity: the report of the export, as in
    the file: by runtime, graph and port the largest and the mean difference from torch."""

    format: int
    system: str
    title: str
    licence: str
    commercial: bool
    acceptance: str | None
    origin: Origin
    consent: str
    graphs: Mapping[str, GraphInfo]
    parameters: Parameters
    parity: Mapping[str, Any]
    record: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """An opened bundle: every file was there, whole, and held what it may hold. batched: the names of those graphs
    that take batches of any size."""

    folder: Path
    manifest: Manifest
    batched: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """For messages: the folder's name."""
        return self.folder.name

    def info(self, name: str) -> GraphInfo:
        """What the manifest says of a graph. Raises ManifestError when there is none of that name."""
        if name not in self.manifest.graphs:
            known = ", ".join(self.manifest.graphs)
            raise ManifestError(f"bundle {self.name} has no graph {name!r}: it has {known}; export it again")
        return self.manifest.graphs[name]

    def graph(
        self,
        name: str,
        backend: str = "auto",
        threads: int = 1,
        outputs: Sequence[str] | None = None,
        *,
        batch: int | None = 1,
    ) -> Graph:
        """A graph, ready to run; options as of engine.backends.open_graph.

        batch: entries of one run. Other than 1 only for graphs in `batched`; None leaves the size free, for backends
        that plan for several sizes at once.

        Its bytes are read and hashed once more, and what was hashed is what runs, whatever becomes of the file.
        Raises BundleError as open_bundle does, PortError and BackendError as open_graph does.
        """
        data = self.data(name)
        if batch is not None:
            data = settled(data, batch)
        path, precision = self.folder / self.info(name).file, policy.current().precision
        return open_graph(path, backend, threads, outputs, data=data, precision=precision, refit=True)

    def data(self, name: str) -> bytes:
        """A graph's file as it lies there, for what compiles it elsewhere; read and hashed once more, too."""
        return _graph_bytes(self.folder, self.info(name))


def open_bundle(folder: Path | str, accept: frozenset[str] = frozenset()) -> Bundle:
    """Opens a folder as a bundle, after everything in it was checked.

    accept: names of acceptances that were given (``--accept NAME``). Raises VersionError for another version of the
    format, ManifestError for a manifest that does not follow its schema, ChecksumError for a file that was changed,
    BundleError for everything else: a missing or further file, a link, a graph with something in it that no graph may
    hold, a bundle that was not accepted.
    """
    folder = Path(folder)
    try:
        manifest = _read_manifest(folder)
        _check_listing(folder, manifest)
        _record_bytes(folder, manifest)
        _check_accepted(manifest, accept)
        batched = set()
        for info in manifest.graphs.values():
            data = _graph_bytes(folder, info)
            check_graph(data, info.inputs, info.outputs)
            if is_free(data):
                batched.add(info.name)
    except BundleError as error:
        raise type(error)(f"bundle {folder}: {error}") from error
    return Bundle(folder, manifest, frozenset(batched))


def read_manifest(folder: Path | str) -> Manifest:
    """Only the manifest, checked against its schema; the graphs are not looked at. Raises as open_bundle does."""
    try:
        return _read_manifest(Path(folder))
    except BundleError as error:
        raise type(error)(f"bundle {folder}: {error}") from error


def read_record(folder: Path | str) -> bytes | None:
    """The file of a bundle's consent record, as its manifest states it; None where it states none. What it says is
    engine.consent's to check. Raises as open_bundle does."""
    folder = Path(folder)
    try:
        return _record_bytes(folder, _read_manifest(folder))
    except BundleError as error:
        raise type(error)(f"bundle {folder}: {error}") from error


def parse_manifest(text: str) -> Manifest:
    """The manifest of a text. Raises VersionError and ManifestError."""
    try:
        value = strict_json(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{MANIFEST} is no JSON ({error}); export it again") from error
    _check_version(value)
    try:
        check(value, schema())
    except ManifestError as error:
        raise ManifestError(f"{MANIFEST}: {error}") from error
    return _typed(value)


@cache
def schema() -> Mapping[str, Any]:
    """The JSON schema of the manifest, as it is shipped."""
    found: Mapping[str, Any] = strict_json(SCHEMA.read_text("utf-8"))
    return found


def _check_version(value: Any) -> None:
    if not isinstance(value, dict) or "format" not in value:
        raise ManifestError(f"{MANIFEST} states no format, expected {FORMAT}; export it again")
    if isinstance(value["format"], bool) or value["format"] != FORMAT:
        shown = repr(value["format"])[:40]
        raise VersionError(
            f"{MANIFEST} is of format {shown}, expected {FORMAT}; update Marotte or export it again"
        )


def _typed(value: Mapping[str, Any]) -> Manifest:
    manifest = Manifest(
        format=value["format"],
        system=value["system"],
        title=value["title"],
        licence=value["licence"],
        commercial=value["commercial"],
        acceptance=value["acceptance"],
        origin=Origin(**value["origin"]),
        consent=value["consent"],
        graphs={name: _graph(name, entry) for name, entry in value["graphs"].items()},
        parameters=_parameters(value["parameters"]),
        parity=value["parity"],
        record=value.get("record"),
    )
    _check_sense(manifest)
    return manifest


def _graph(name: str, entry: Mapping[str, Any]) -> GraphInfo:
    inputs, outputs = (tuple(map(_port, entry[side])) for side in ("inputs", "outputs"))
    return GraphInfo(name, entry["file"], entry["sha256"], entry["bytes"], inputs, outputs)


def _port(entry: Mapping[str, Any]) -> PortInfo:
    return PortInfo(entry["name"], tuple(entry["shape"]), entry["dtype"], _pair(entry["range"]))


def _pair(entry: Any) -> tuple[float, float] | None:
    return None if entry is None else (float(entry[0]), float(entry[1]))


def _parameters(entry: Mapping[str, Any]) -> Parameters:
    extractor = entry["extractor"]
    return Parameters(
        crop=CropRule(**entry["crop"]),
        aus=tuple(entry["aus"]),
        extractor=None if extractor is None else Extractor(**extractor),
        au_range=_pair(entry["au_range"]),
        modes=frozenset(map(Mode, entry["modes"])),
        facts=entry["facts"],
    )


def _check_sense(manifest: Manifest) -> None:
    """What a schema cannot say."""
    files = [info.file for info in manifest.graphs.values()]
    if len(set(files)) < len(files):
        raise ManifestError(f"{MANIFEST}: two graphs name one file; export it again")
    if sum(info.bytes for info in manifest.graphs.values()) > MOST_GRAPHS:
        raise ManifestError(
            f"{MANIFEST}: its graphs are over {MOST_GRAPHS} bytes together; export it smaller"
        )
    if not manifest.commercial and manifest.acceptance is None:
        raise ManifestError(f"{MANIFEST}: acceptance is null, expected a name where commercial is false")
    limits = manifest.parameters.au_range
    if limits is not None and not limits[0] < limits[1]:
        raise ManifestError(f"{MANIFEST}: parameters.au_range ends before it begins; export it again")
    for info in manifest.graphs.values():
        names = [port.name for port in info.inputs + info.outputs]
        if len(set(names)) < len(names):
            raise ManifestError(f"{MANIFEST}: graphs.{info.name} names a port twice; export it again")
        for port in info.inputs + info.outputs:
            _check_free(info, port)
            if port.range is not None and not port.range[0] <= port.range[1]:
                raise ManifestError(f"{MANIFEST}: port {port.name!r} has a range that ends before it begins")


def _check_free(info: GraphInfo, port: PortInfo) -> None:
    """Only a frame has a size of its own."""
    framed = info.name.startswith(FRAME) and port.name in FRAME_PICTURES and len(port.shape) == 4
    sizes = (port.shape[0], port.shape[3]) if framed else port.shape
    if 0 in sizes:
        raise ManifestError(f"{MANIFEST}: port {port.name!r} of {info.name} has a free size; export it again")


def _check_accepted(manifest: Manifest, accept: frozenset[str]) -> None:
    name = manifest.acceptance
    if name is None or name in accept:
        return
    use = "" if manifest.commercial else ", for non-commercial use only"
    raise BundleError(
        f"its weights are under {manifest.licence}{use} ({manifest.origin.weights}); when that suits you, "
        f"give --accept {name}"
    )


def _check_listing(folder: Path, manifest: Manifest) -> None:
    """Exactly the manifest, its graphs and the record that it states lie in the folder."""
    expected = {MANIFEST} | {info.file for info in manifest.graphs.values()}
    expected |= {RECORD} if manifest.record is not None else set()
    found = names_in(folder)
    if missing := sorted(expected - found):
        raise BundleError(f"{missing[0]} is not there; copy the bundle again, whole")
    if extra := sorted(found - expected):
        raise BundleError(f"{extra[0]!r} does not belong to it; take it out of the folder")


def _read_manifest(folder: Path) -> Manifest:
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "is not there"
        raise BundleError(f"it {what}; expected a folder with {MANIFEST}")
    data = plain_file(folder / MANIFEST, MOST_MANIFEST)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{MANIFEST} is not UTF-8 ({error.reason}); export it again") from error
    return parse_manifest(text)


def _record_bytes(folder: Path, manifest: Manifest) -> bytes | None:
    if manifest.record is None:
        return None
    data = plain_file(folder / RECORD, MOST_RECORD)
    if (got := hashlib.sha256(data).hexdigest()) != manifest.record:
        raise ChecksumError(
            f"{RECORD} has the SHA-256 {got}, expected {manifest.record}; copy the bundle again, whole"
        )
    return data


def _graph_bytes(folder: Path, info: GraphInfo) -> bytes:
    """A graph's file, of the size and the SHA-256 that the manifest states."""
    data = plain_file(folder / info.file, info.bytes)
    if len(data) != info.bytes:
        raise ChecksumError(
            f"{info.file} has {len(data)} bytes, expected {info.bytes}; copy the bundle again, whole"
        )
    got = hashlib.sha256(data).hexdigest()
    if got != info.sha256:
        raise ChecksumError(
            f"{info.file} has the SHA-256 {got}, expected {info.sha256}; copy the bundle again, whole"
        )
    return data
