"""A bundle opened: its facts and ports looked at, its graphs compiled."""

from __future__ import annotations

from engine.bundle import Bundle, Manifest
from engine.errors import ManifestError
from engine.generators import BODY_MESH
from engine.generators.batch_runner import BatchRunner, open_runner
from engine.generators.graph_runner import GraphRunner
from engine.generators.liquid_warping.generator import LiquidWarping
from engine.generators.liquid_warping.given import PersonGraphs
from engine.generators.ports import check_ports
from engine.mesh.face.topology import layout
from engine.mesh.layout import Layout
from engine.mesh.views import neighbours_of

COUNTS = (1, 2, 4, 8)
MESH = "face"


def open_liquid_warping(
    bundle: Bundle, backend: str, threads: int, batches: tuple[int, ...] = (1,)
) -> tuple[LiquidWarping, GraphRunner | BatchRunner]:
    """The generator of a bundle for faces and what executes it. Raises BundleError or BackendError."""
    parameters = bundle.manifest.parameters
    if mesh_of(bundle.manifest) == BODY_MESH:
        raise ManifestError(
            f"bundle {bundle.name}: its mesh is {BODY_MESH!r}, expected {MESH!r} here; a body is moved by "
            "marotte render --body, and live by marotte serve --body"
        )
    if parameters.crop.rule != "bust":
        raise ManifestError(
            f"bundle {bundle.name}: its crop rule is {parameters.crop.rule!r}, expected 'bust'; prepare the data anew"
        )
    graphs = open_graphs(bundle, backend, threads, layout())
    runner = open_runner(bundle, "generator", backend, threads, None, batches)
    return LiquidWarping(bundle.name, parameters, graphs), runner


def mesh_of(manifest: Manifest) -> str:
    """Which mesh a bundle is for, MESH or BODY_MESH. Raises ManifestError."""
    stated = manifest.parameters.facts.get("mesh")
    if stated not in (MESH, BODY_MESH):
        raise ManifestError(
            f"bundle {manifest.title!r}: its mesh is {stated!r}, expected {MESH!r} or {BODY_MESH!r}; export it again"
        )
    return str(stated)


def open_graphs(bundle: Bundle, backend: str, threads: int, mesh: Layout) -> PersonGraphs:
    """What is run once per person, on that mesh. Raises BundleError or BackendError."""
    size = bundle.manifest.parameters.crop.size
    sources = _number(bundle, "sources", 1, max(COUNTS))
    if sources not in COUNTS:
        counts = ", ".join(map(str, COUNTS))
        raise ManifestError(
            f"bundle {bundle.name}: sources is {sources}, expected one of {counts}; export it again"
        )
    box = _number(bundle, "background_erosion", 1, size)
    texture = _number(bundle, "texture", 16, 4096)
    _check(bundle, size, sources)
    neighbours_of(mesh)  # takes a while, once
    return PersonGraphs(
        bundle.graph("source", backend, threads),
        bundle.graph("background", backend, threads),
        size=size,
        sources=sources,
        layout=mesh,
        texture=mesh.drawn(texture),
        box=box,
    )


def _number(bundle: Bundle, fact: str, low: int, high: int) -> int:
    value = bundle.manifest.parameters.facts.get(fact)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ManifestError(
            f"bundle {bundle.name}: {fact} is {value!r}, expected a whole number in {low} .. {high}; export it again"
        )
    return value


def _check(bundle: Bundle, size: int, sources: int) -> None:
    """That the graphs' ports are those that are run here, and that sources give what frames take."""
    plane = (1, 3, size, size)
    found = {port.name: port.shape for port in bundle.info("source").outputs}
    check_ports(bundle, "source", {}, {"filled": plane, "condition": plane}, found)
    check_ports(bundle, "background", {}, {"image": (1, 4, size, size)}, {"background": plane})
    stacked = {name: (1, sources, *shape[1:]) for name, shape in found.items()}
    inputs = {"target": (1, 6, size, size), "flow": (1, sources, size, size, 2), **stacked}
    check_ports(bundle, "generator", {}, inputs, {"colour": plane, "mask": (1, 1, size, size)})
