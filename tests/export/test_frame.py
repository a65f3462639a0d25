"""Frame graphs: a bundle's networks with crop, blending and paste-back around them give the picture of the CPU path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import marotte
from engine.blend import paste
from engine.bundle import FRAME, open_bundle
from engine.errors import BundleError, ConfigError, ManifestError, PortError
from engine.features import extract
from engine.features.shape import fit_shape
from engine.features.still import neutral_behind
from engine.generators import open_generator
from engine.generators.frame_limits import DONOR_SIDE, MOST_SIDE, most_shrink
from engine.plug import Generator, Runner
from engine.types import Controls, Drive, Frame, Mode
from export.frame import add, parity
from export.frame.add import add_frames
from export.frame.parity import Apart, FrameReport, apart, drives, measure_frames
from tests.engine.bundle_files import write_ganimation, write_geogan
from tests.engine.edit_scenes import donor_source, face_at
from tests.export.tensorrt_graphs import compiled, needs_compiler

SIZE = 32
RUNTIMES = ("openvino", "onnxruntime")
Pair = tuple[Generator, Runner]


def hill() -> np.ndarray:
    """A mask with a soft edge, (SIZE, SIZE): most of it in the middle, nothing at the rim."""
    y, x = np.mgrid[:SIZE, :SIZE] / (SIZE - 1) * 2 - 1
    return np.clip(1.3 - 1.6 * np.hypot(x, y), 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Closed forms with their frame graphs, and what was measured at that."""
    folder = tmp_path_factory.mktemp("frames")
    plain = {
        "ganimation": write_ganimation(folder / "plain_ganimation", SIZE),
        "geogan": write_geogan(folder / "plain_geogan", SIZE, mask=hill(), flow=(0.11, -0.07)),
    }
    with pytest.MonkeyPatch.context() as patch:
        add_frames(plain["geogan"], folder / "geogan")
        patch.setattr(add, "measure_frames", lambda bundle: FrameReport(parity.GATE, {"none": ("0", {})}))
        add_frames(plain["ganimation"], folder / "ganimation")  # compared in tests of its own
    return {name: folder / name for name in plain} | {f"plain_{name}": one for name, one in plain.items()}


@pytest.fixture(scope="module", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """Both CPU runtimes compute what a GPU's will."""
    return str(request.param)


@pytest.fixture(scope="module")
def pairs(bundles: dict[str, Path], runtime: str) -> Iterator[dict[str, tuple[Pair, Pair]]]:
    """By system: the generator itself, and behind its frame graphs."""
    opened = {
        name: tuple(
            open_generator(bundles[name], backend=runtime, threads=1, frames=frames)
            for frames in (False, True)
        )
        for name in ("ganimation", "geogan")
    }
    yield opened  # type: ignore[misc]
    for both in opened.values():
        for _, runner in both:
            runner.close()


def shown(pair: Pair, state: Any, drive: Drive) -> np.ndarray:
    answer = pair[1].run([pair[0].inputs(state, drive)])[0]
    if isinstance(answer, Exception):
        raise answer
    return paste(pair[0].patch(state, answer))


def drive_of(
    generator: Generator,
    face: Any,
    size: tuple[int, int] = (173, 131),
    number: int = 0,
    seed: int = 1,
    occlusion: Any = None,
    **controls: Any,
) -> Drive:
    """A driver in a picture of soft spots and a grain."""
    numbers = np.random.default_rng(seed)
    rgb = np.kron(numbers.integers(30, 220, (size[1] // 8 + 1, size[0] // 8 + 1, 3)), np.ones((8, 8, 1)))
    rgb = (rgb[: size[1], : size[0]] + numbers.integers(-6, 7, (size[1], size[0], 3))).clip(0, 255)
    frame = Frame(np.ascontiguousarray(rgb, np.uint8), number, Fraction(1, 30), 0.0)
    neutral = neutral_behind(fit_shape(face.points))
    features = replace(extract(face, frame, generator.needs, neutral), occlusion=occlusion)
    return Drive(frame, face, features, neutral, Controls(**controls), alone=True)


def test_a_bundle_with_frame_graphs_says_so(bundles: dict[str, Path]) -> None:
    """Ports by the names in the docs, free height and width alone, and what was measured on both runtimes."""
    manifest = open_bundle(bundles["geogan"]).manifest
    assert list(manifest.graphs) == ["donor", "transfer", "removal", "frame", "frame_removal"]
    info = manifest.graphs["frame"]
    assert {port.name: port.shape for port in info.inputs} == {
        "frame": (1, 0, 0, 3), "matrix": (1, 2, 3), "hidden": (1, 0, 0, 1), "dt": (1,),
        "donor": (1, SIZE, SIZE, 3), "flow_0": (1, 1, 16, 16), "mask_0": (1, 1, 16, 16),
        "square": (1, DONOR_SIDE, DONOR_SIDE, 3), "square_side": (1,),
        "steady": (1, 18, SIZE, SIZE), "light": (1, 4),
    }  # fmt: skip
    assert {port.name for port in info.outputs} == {"frame_out", "answer_mean", "steady_out", "light_out"}
    found = manifest.parity["frames"]
    assert set(found["runtimes"]) == set(RUNTIMES)
    for one in found["runtimes"].values():
        assert set(one["cases"]) == {"edit with a donor", "edit, removing", "edit with a donor, removing"}
        assert all(case["within_one"] >= found["gate"] for case in one["cases"].values())
    assert manifest.parameters.facts["frame_shrink"] == most_shrink(SIZE)


def test_operators_are_those_that_all_runtimes_have(bundles: dict[str, Path]) -> None:
    """No loop, no branch, no size that a value decides on: GridSample of rank 4, and uint8 in ports alone."""
    for name in ("ganimation", "geogan"):
        for path in bundles[name].glob(f"{FRAME}*.onnx"):
            model = onnx.load(path)
            assert model.opset_import[0].version <= 20
            shapes = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
            kinds = {value.name: value.type.tensor_type for value in shapes.graph.value_info}
            for node in model.graph.node:
                if node.op_type == "GridSample":
                    assert all(len(kinds[read].shape.dim) == 4 for read in node.input if read in kinds)
                assert node.op_type not in ("NonZero", "Loop", "If", "Scan", "Unique", "Compress", "TopK")
            assert not [one for one, kind in kinds.items() if kind.elem_type == onnx.TensorProto.UINT8]


def test_tensorrt_compiles_one(bundles: dict[str, Path]) -> None:
    """With the free height and width as they are, by the builder that makes plans."""
    needs_compiler()
    assert compiled((bundles["ganimation"] / "frame.onnx").read_bytes(), "frame").plan


@pytest.mark.full
@pytest.mark.parametrize("name", ["frame", "frame_removal"])
def test_tensorrt_compiles_the_others(bundles: dict[str, Path], name: str) -> None:
    """GeoGAN's, with their state ports."""
    needs_compiler()
    assert compiled((bundles["geogan"] / f"{name}.onnx").read_bytes(), name).plan


@pytest.mark.full
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("mode", [Mode.PUPPET, Mode.EDIT])
def test_ganimation_gives_the_picture_of_the_cpu_path(
    pairs: dict[str, tuple[Pair, Pair]], mode: Mode, number: int
) -> None:
    """A portrait or a driver: upright, turned, at the edge, half hidden, in odd sizes; and something is painted."""
    plain, framed = pairs["ganimation"]
    source = donor_source(120) if mode is Mode.PUPPET else None
    drive = list(drives(plain[0], False))[number]
    one, other = (
        shown(pair, pair[0].begin(pair[0].prepare(source, mode)), drive) for pair in (plain, framed)
    )
    found = apart(one, other)
    assert found.within_one >= 0.999, found
    assert (other != (drive.frame.rgb if source is None else source.rgb)).any()


@pytest.mark.parametrize("removes", [False, True])
def test_geogan_gives_the_pictures_of_the_cpu_path(
    pairs: dict[str, tuple[Pair, Pair]], removes: bool
) -> None:
    """Frame after frame, so that what is steadied over time is the same, too; across a pause, another face and
    another wish, after which nothing of the past counts."""
    plain, framed = pairs["geogan"]
    states = [pair[0].begin(pair[0].prepare(donor_source(90), Mode.EDIT)) for pair in (plain, framed)]
    moves = [
        (0, 1, 80, 3.0),
        (1, 1, 81, 3.0),
        (2, 1, 84, 3.2),
        (40, 1, 70, 2.2),
        (41, 2, 60, 2.2),
        (42, 2, 61, 2.1),
    ]
    for step, (number, track, x, scale) in enumerate(moves):
        face = face_at(x, 60, track, scale=scale, roll=4.0 * step)
        hidden = np.zeros((131, 173), np.uint8)
        hidden[:, 90:] = 255
        drive = drive_of(plain[0], face, number=number, seed=step // 3, occlusion=hidden, remove=removes)
        one, other = (shown(pair, state, drive) for pair, state in zip((plain, framed), states))
        found = apart(one, other)
        assert found.within_one >= 0.999, (step, found)
        assert (other != drive.frame.rgb).any(), step


def test_what_lasts_does_last(pairs: dict[str, tuple[Pair, Pair]]) -> None:
    """A frame after another is not what it would be alone: the state ports are more than there."""
    generator, runner = pairs["geogan"][1]
    prepared = generator.prepare(donor_source(90), Mode.EDIT)
    first, second = (drive_of(generator, face_at(80, 60, scale=3.0), number=n, seed=n) for n in (0, 1))
    state = generator.begin(prepared)
    shown((generator, runner), state, first)
    after = shown((generator, runner), state, second)
    alone = shown((generator, runner), generator.begin(prepared), second)
    assert (after != alone).any()


def test_several_faces_and_donors_go_the_other_way(pairs: dict[str, tuple[Pair, Pair]]) -> None:
    """One of several faces, a second donor, a frame beyond 1080p and a face beyond the limit run as before."""
    plain, (generator, runner) = pairs["geogan"]
    one, other = (generator.prepare(donor_source(value), Mode.EDIT) for value in (90, 150))
    drive = drive_of(generator, face_at(80, 60, scale=3.0))
    state, several = generator.begin(one), generator.begin(one, other)
    assert "frame" in generator.inputs(state, drive)
    ports = generator.inputs(state, replace(drive, alone=False))
    assert "frame" not in ports
    assert "image" in ports
    assert "frame" not in generator.inputs(several, drive)
    wide = drive_of(generator, face_at(80, 60, scale=3.0), (MOST_SIDE + 2, 64))
    assert "frame" not in generator.inputs(generator.begin(one), wide)
    near = drive_of(generator, face_at(700, 500, scale=1.1 * most_shrink(SIZE) * SIZE / 20.0), (1400, 1000))
    assert "frame" not in generator.inputs(generator.begin(one), near)
    expected = shown(plain, plain[0].begin(plain[0].prepare(donor_source(90), Mode.EDIT)), drive)
    assert (shown((generator, runner), generator.begin(one), replace(drive, alone=False)) == expected).all()


def test_a_face_at_the_limit_is_still_the_same(pairs: dict[str, tuple[Pair, Pair]]) -> None:
    """Shrunk as far as the graph was written for, and by two, whose mean OpenCV rounds in its own way."""
    plain, framed = pairs["ganimation"]
    for times in (0.999 * most_shrink(SIZE), 2.0, 3.7):
        scale = times * SIZE / 20.0
        middle = 10.5 * scale
        size = (int(2 * middle), int(2 * middle) + 1)
        drive = drive_of(plain[0], face_at(middle, middle, scale=scale), size, au_offsets={"AU12": 0.63})
        both = (
            shown(pair, pair[0].begin(pair[0].prepare(None, Mode.EDIT)), drive) for pair in (plain, framed)
        )
        found = apart(*both)
        assert found.within_one >= 0.999, (times, found)


def test_nan_fails_closed(pairs: dict[str, tuple[Pair, Pair]]) -> None:
    """A network that answers NaN gives an error and no picture, and the next frame is well again."""
    generator, runner = pairs["ganimation"][1]
    state = generator.begin(generator.prepare(None, Mode.EDIT))
    face = face_at(80, 60, scale=3.0)
    poisoned = runner.run([generator.inputs(state, drive_of(generator, face, au_offsets={"AU45": 1.0}))])[0]
    assert isinstance(poisoned, PortError)
    assert "answer_mean" in str(poisoned)
    assert shown((generator, runner), state, drive_of(generator, face)).shape == (131, 173, 3)


def test_one_entry_does_not_touch_the_others(pairs: dict[str, tuple[Pair, Pair]]) -> None:
    """A batch of whole frames and of entries for the CPU path, one of them poisoned: each has its own answer."""
    generator, runner = pairs["ganimation"][1]
    drives_ = [
        drive_of(generator, face_at(80, 60, scale=3.0), seed=seed, au_offsets={"AU45": value})
        for seed, value in ((1, 0.0), (2, 1.0), (3, 0.0))
    ]
    drives_.append(replace(drives_[0], alone=False))
    states = [generator.begin(generator.prepare(None, Mode.EDIT)) for _ in drives_]
    alone = [None if n == 1 else shown((generator, runner), states[n], one) for n, one in enumerate(drives_)]
    entries = [dict(generator.inputs(state, drive)) for state, drive in zip(states, drives_)]
    for entry in entries:
        entry["aus"] = entry["aus"].copy()
    answers = runner.run(entries)
    assert [isinstance(answer, Exception) for answer in answers] == [False, True, False, False]
    for n in (0, 2, 3):
        assert (paste(generator.patch(states[n], answers[n])) == alone[n]).all()  # type: ignore[arg-type]


def test_constants_stay_the_same_arrays(pairs: dict[str, tuple[Pair, Pair]]) -> None:
    """What belongs to the source is the very same array in each frame, which nobody can write to: a device keeps it."""
    generator = pairs["geogan"][1][0]
    state = generator.begin(generator.prepare(donor_source(90), Mode.EDIT))
    first, second = (
        generator.inputs(state, drive_of(generator, face_at(80, 60, scale=3.0), number=n)) for n in (0, 1)
    )
    for name in ("donor", "flow_0", "mask_0", "square"):
        assert first[name] is second[name]
        assert not first[name].flags.writeable
        assert first[name].base is None
    puppet = pairs["ganimation"][1][0]
    state = puppet.begin(puppet.prepare(donor_source(120), Mode.PUPPET))
    first, second = (
        puppet.inputs(state, drive_of(puppet, face_at(80, 60, scale=3.0), number=n)) for n in (0, 1)
    )
    assert first["frame"] is second["frame"]
    assert not first["frame"].flags.writeable
    assert first["hidden"] is second["hidden"]


def test_older_bundles_open_and_are_asked_in_vain(bundles: dict[str, Path]) -> None:
    """Without frame graphs a bundle runs as before; asked for them, it says which command adds them."""
    generator, runner = open_generator(bundles["plain_geogan"], backend="onnxruntime")
    runner.close()
    assert type(generator).__name__ == "Geogan"
    with pytest.raises(ConfigError, match="marotte frame"):
        open_generator(bundles["plain_geogan"], frames=True)
    with pytest.raises(ConfigError, match="no frame graph"):
        open_generator("mesh_flow", frames=True)


def test_on_a_cpu_they_are_not_taken_unasked(bundles: dict[str, Path]) -> None:
    """There the CPU path is faster."""
    generator, runner = open_generator(bundles["geogan"], backend="onnxruntime")
    runner.close()
    assert type(generator).__name__ == "Geogan"


def test_the_bytes_are_the_same_every_time(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Added anew, to a bundle that has them already, in its own place."""
    before = {path.name: path.read_bytes() for path in bundles["ganimation"].iterdir()}
    monkeypatch.setattr(add, "measure_frames", lambda bundle: FrameReport(parity.GATE, {"none": ("0", {})}))
    again = tmp_path / "again"
    again.mkdir()
    for name, data in before.items():
        (again / name).write_bytes(data)
    add_frames(again, again)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == before


def test_a_picture_that_differs_is_not_packed(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One constant off in the graph, and the comparison refuses it; nothing is left behind."""
    write_frames = add.write_frames

    def spoilt(*given: Any) -> Any:
        written = write_frames(*given)
        model = onnx.load_from_string(written["frame"].data)
        for tensor in model.graph.initializer:
            if tensor.dims == [] and numpy_helper.to_array(tensor) == 127.5:
                tensor.CopyFrom(numpy_helper.from_array(np.float32(117.0).reshape(()), tensor.name))
        return {"frame": replace(written["frame"], data=model.SerializeToString())}

    monkeypatch.setattr(add, "write_frames", spoilt)
    monkeypatch.setattr(parity, "ON_CPU", ("onnxruntime",))
    with pytest.raises(BundleError, match="within one level"):
        add_frames(bundles["plain_ganimation"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_gate_counts_pixels_not_channels() -> None:
    """One channel two levels off is a pixel that is off."""
    one = np.zeros((10, 10, 3), np.uint8)
    other = one.copy()
    other[0, 0, 1], other[5, 5] = 2, 1
    assert apart(one, other) == Apart(0.99, 2, 5 / 300)


@pytest.mark.parametrize(
    ("graph", "port", "shape"),
    [("frame", "dt", [0]), ("frame", "frame", [0, 0, 0, 3]), ("donor", "image", [1, 0, 0, 3])],
)
def test_nothing_else_has_a_free_size(
    bundles: dict[str, Path], tmp_path: Path, graph: str, port: str, shape: list[int]
) -> None:
    """Height and width of a frame's pictures are free, and no other size of no other port."""
    table = json.loads((bundles["geogan"] / "manifest.json").read_text())
    next(one for one in table["graphs"][graph]["inputs"] if one["name"] == port)["shape"] = shape
    for path in bundles["geogan"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps(table))
    with pytest.raises(ManifestError, match=f"port '{port}' of {graph} has a free size"):
        open_bundle(tmp_path)


@pytest.mark.full
def test_the_command_adds_them(
    bundles: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`marotte frame` writes the bundle and tells what was measured; a system without a writer is named."""
    monkeypatch.setattr(parity, "ON_CPU", ("onnxruntime",))
    assert marotte.main(["frame", str(bundles["plain_ganimation"]), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "onnxruntime" in told
    assert "edit: 100" in told
    assert "puppet: 100" in told
    assert FRAME in open_bundle(tmp_path / "out").manifest.graphs
    monkeypatch.setattr(add, "write_frames", lambda *given: {})
    assert marotte.main(["frame", "ganimation_small", "--out", str(tmp_path / "none")]) == 2
    assert "no frame graph can be written for ganimation" in capsys.readouterr().err


@pytest.mark.full
def test_the_comparison_runs_again(bundles: dict[str, Path]) -> None:
    """What a manifest states is what is measured."""
    bundle = open_bundle(bundles["geogan"])
    assert measure_frames(bundle).table() == bundle.manifest.parity["frames"]
