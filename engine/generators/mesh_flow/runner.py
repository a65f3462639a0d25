"""Drawing a frame from its ports: flow, person over background, eyes, mouth, and what was borrowed."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from engine.errors import PortError
from engine.generators.mesh_flow import borrowed, eyes, mouth
from engine.generators.mesh_flow.prepared import EYE_PARTS, SIDES
from engine.generators.mesh_flow.raster import composite
from engine.generators.motion.flow import rasterise
from engine.plug import Ports
from engine.types import U8

_FEATHER = 1.6
"""Pixels over which eyes and mouth blend into the skin."""


class MeshFlowRunner:
    """Draws frames from their ports with compiled kernels, one after the other, in any number of threads."""

    concurrent = True

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        return [_guarded(ports) for ports in batch]

    def close(self) -> None:
        """Nothing is held."""


def _guarded(ports: Ports) -> Ports | Exception:
    try:
        return {"rgb": render(ports)}
    except KeyError as error:
        return PortError(f"port {error}: missing, expected one array per port of mesh_flow")
    except Exception as error:  # the frame loop decides; one session's fault must not reach another
        return error


def render(ports: Ports) -> U8:
    """One patch from its ports, uint8 (S, S, 3), in the memory of port `rgb`."""
    if not np.isfinite(ports["target"]).all():
        raise PortError("port 'target': expected finite numbers, got others")
    out: U8 = ports["rgb"]
    _move(ports, out)
    for k, side in enumerate(SIDES):
        row, lids = ports["eyes"][k], ports["lids"][k]
        own, white, iris, corner, frame = (ports[f"{side}_{part}"] for part in EYE_PARTS)
        eyes.draw_lashes(out, row, lids, float(ports["lashes"][k]))
        eyes.draw_eye(out, own, white, iris, corner, frame, row, lids, _FEATHER)
    mouth.draw_mouth(
        out,
        ports["picture"],
        ports["cavity_frame"],
        ports["cavity_lips"],
        ports["cavity_colours"],
        ports["tooth_edges"],
        ports["mouth"],
        ports["lips"],
        _FEATHER,
    )
    if "driver" in ports:
        borrowed.add(out, ports, _FEATHER)
    return out


def _move(ports: Ports, out: U8) -> None:
    """The person, moved, over the background."""
    size = out.shape[0]
    flow_x, flow_y = ports["flow_x"], ports["flow_y"]
    step = size / flow_x.shape[0]
    rasterise(ports["target"], ports["places"], ports["triangles"], step, flow_x, flow_y, ports["depth"])
    for flow, full in ((flow_x, ports["map_x"]), (flow_y, ports["map_y"])):
        cv2.resize(cv2.blur(flow, (3, 3)), (size, size), dst=full, interpolation=cv2.INTER_LINEAR)
    moved, map_x, map_y = ports["moved"], ports["map_x"], ports["map_y"]
    cv2.remap(ports["moving"], map_x, map_y, cv2.INTER_LINEAR, dst=moved, borderMode=cv2.BORDER_REPLICATE)
    composite(moved, ports.get("standing", moved), out)
