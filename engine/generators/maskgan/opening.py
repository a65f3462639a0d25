"""A bundle opened: its ports and classes looked at, its graphs compiled."""

from __future__ import annotations

import numpy as np

from engine import canonical
from engine.bundle import Bundle
from engine.errors import ManifestError
from engine.features.au_basis import basis
from engine.generators.batch_runner import further_graphs
from engine.generators.maskgan.generator import Maskgan
from engine.generators.maskgan.networks import PictureGraphs
from engine.generators.maskgan.runner import MaskganRunner
from engine.generators.maskgan.template import moved, template_of
from engine.generators.ports import check_ports
from engine.parsing.classes import CELEBAMASK, Parsing
from engine.parsing.draw import draw_parsing
from engine.parsing.steady import SteadyProbabilities
from engine.types import FaceShape


def open_maskgan(
    bundle: Bundle, backend: str, threads: int, batches: tuple[int, ...] = (1,)
) -> tuple[Maskgan, MaskganRunner]:
    """The generator of a bundle and what executes it. Raises BundleError or BackendError."""
    _check(bundle)
    graphs = bundle.manifest.graphs
    parser = bundle.graph("parser", backend, threads) if "parser" in graphs else None
    pictures = PictureGraphs(bundle.graph("style", backend, threads), parser)
    per_frame = {
        name: further_graphs(bundle, name, bundle.graph(name, backend, threads), threads, batches)
        for name in ("generator", "mask_vae")
        if name in graphs
    }
    _warm_up()
    return (
        Maskgan(bundle.name, bundle.manifest.parameters, pictures, projects="mask_vae" in graphs),
        MaskganRunner(per_frame["generator"], per_frame.get("mask_vae"), pictures),
    )


def _check(bundle: Bundle) -> None:
    """That the graphs' ports and the order of the classes are those that are run here."""
    parameters = bundle.manifest.parameters
    size, classes = parameters.crop.size, parameters.facts.get("classes")
    if classes != CELEBAMASK.name:
        raise ManifestError(
            f"bundle {bundle.name}: its classes are {classes!r}, expected {CELEBAMASK.name!r}; export it again"
        )
    layout, square, planes = (1, size, size), (1, size, size, 3), (1, len(CELEBAMASK), size, size)
    style = {port.name: port.shape for port in bundle.info("style").outputs}
    shape = bundle.info("style").output("gamma").shape
    check_ports(bundle, "style", {"labels": layout, "image": square}, {}, {"gamma": shape, "beta": shape})
    check_ports(bundle, "generator", {"labels": layout}, style, {"image": (1, 3, size, size)})
    if "parser" in bundle.manifest.graphs:
        check_ports(bundle, "parser", {"image": square}, {}, {"logits": planes})
    if "mask_vae" in bundle.manifest.graphs:
        side = bundle.info("mask_vae").input("labels").shape[-1]
        logits = (1, len(CELEBAMASK), side, side)
        check_ports(bundle, "mask_vae", {"labels": (1, side, side)}, {}, {"logits": logits})


def _warm_up() -> None:
    """Compile, and compute what is computed once, before the first frame."""
    basis()
    size = 64
    shape = FaceShape(canonical.VERTICES, np.eye(3), 2.0, np.array([size / 2, size / 2, 0.0]))
    points = shape.points()
    labels = moved(template_of(draw_parsing(points, (size, size)), points), shape)
    steady = SteadyProbabilities(CELEBAMASK)
    for time_s in (0.0, 0.04):
        steady.update(Parsing(labels, CELEBAMASK), time_s)
