"""Which generators run whole frames as one graph, and when."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from engine import backends
from engine.bundle import FRAME, Bundle, PortInfo
from engine.errors import ConfigError, ManifestError
from engine.generators.batch_runner import open_runner
from engine.generators.frame_runner import FrameGenerator, FrameRunner, System, example_frame
from engine.plug import Generator, Runner

SHRINK: Final = "frame_shrink"
"""The fact that says how many frame pixels a pixel of the square stands for, at most, in a bundle's frame graphs."""

_TRIED: Final = (720, 1280)
"""Height and width of the frames that batches are tried on: what plans are tuned for, so that they are ready for it."""
_TRIED_ON_CPU: Final = (96, 128)


def has_frames(bundle: Bundle) -> bool:
    """Whether a bundle holds frame graphs."""
    return FRAME in bundle.manifest.graphs


def takes_frames(bundle: Bundle, backend: str, asked: bool | None) -> bool:
    """Whether a bundle is to run as frame graphs. asked: None leaves it to the backend.

    Raises ConfigError where they were asked for and are not there, BackendError for an unknown backend.
    """
    if asked and not has_frames(bundle):
        raise ConfigError(
            f"bundle {bundle.name}: it has no frame graph; run: marotte frame {bundle.folder} --out FOLDER"
        )
    if asked is not None:
        return asked
    # On a GPU a way to the host in mid-frame costs more than it saves; on a CPU the kernels are faster.
    return has_frames(bundle) and backends.choose(backend).name in backends.GPU_BACKENDS


def with_frames(
    bundle: Bundle,
    generator: Generator,
    runner: Runner,
    backend: str,
    threads: int,
    batches: tuple[int, ...] = (1,),
) -> tuple[FrameGenerator, FrameRunner]:
    """The generator and its runner behind the bundle's frame graphs. batches: as of open_generator. Raises BundleError
    or BackendError."""
    shrink = bundle.manifest.parameters.facts.get(SHRINK)
    if isinstance(shrink, bool) or not isinstance(shrink, (int, float)) or shrink < 1:
        raise ManifestError(
            f"bundle {bundle.name}: {SHRINK} is {shrink!r}, expected 1 or more; export it again"
        )
    names = [name for name in bundle.manifest.graphs if name.startswith(FRAME)]
    for name in names:
        _check(bundle, name)
    system = _SYSTEMS[bundle.manifest.system](generator, bundle.manifest.parameters.crop.size)
    on_gpu = backends.choose(backend).name in backends.GPU_BACKENDS
    height, width = _TRIED if on_gpu else _TRIED_ON_CPU
    example = partial(example_frame, height=height, width=width)
    runners = [open_runner(bundle, name, backend, threads, None, batches, example) for name in names]
    return FrameGenerator(generator, system, float(shrink)), FrameRunner(runner, runners)


def _check(bundle: Bundle, name: str) -> None:
    """That a frame graph has the ports that every one has."""
    info = bundle.info(name)
    expected: tuple[tuple[PortInfo, tuple[int, ...], str], ...] = (
        (info.input("frame"), (1, 0, 0, 3), "uint8"),
        (info.input("hidden"), (1, 0, 0, 1), "uint8"),
        (info.input("matrix"), (1, 2, 3), "float32"),
        (info.output("frame_out"), (1, 0, 0, 3), "uint8"),
        (info.output("answer_mean"), (1,), "float32"),
    )
    for port, shape, dtype in expected:
        if (port.shape, port.dtype) != (shape, dtype):
            raise ManifestError(
                f"bundle {bundle.name}: port {port.name!r} of {name} is {port.shape} {port.dtype}, expected {shape} "
                f"{dtype}; export it again"
            )


def _ganimation(generator: Any, size: int) -> System:
    from engine.generators.ganimation.frame import GanimationFrame

    return GanimationFrame(generator)


def _geogan(generator: Any, size: int) -> System:
    from engine.generators.geogan.frame import GeoganFrame

    return GeoganFrame(generator, size)


_SYSTEMS: dict[str, Callable[[Any, int], System]] = {"ganimation": _ganimation, "geogan": _geogan}
