"""Liquid Warping GAN's body model under the official names of the fixtures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from engine.body.files import read_body
from engine.body.model import read_pose
from engine.mesh import rotations as forms
from tests.parity.fixtures import Call


def _rows(call: Call, name: str, count: int) -> list[Any]:
    """One entry a sample; links of two columns are everybody's."""
    value = call.inputs.get(name)
    if value is None:
        return [None] * count
    return [value] * count if name == "links_ids" and value.ndim == 2 else list(value)


def _stacked(results: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: np.stack([one[name] for one in results]) for name in results[0]}


def _smpl(call: Call) -> Mapping[str, Any]:
    model = read_body(call.files["body_model"])
    assert model.joints19 is not None
    options = {**call.arguments, **call.options}
    theta = call.inputs["theta"]
    if call.call == "get_details":
        joints = 3 * len(model.parents)
        camera, theta, betas = theta[:, :3], theta[:, 3 : 3 + joints], theta[:, 3 + joints :]
    else:
        betas = call.inputs["beta"]
    results = []
    offsets, links = (_rows(call, name, len(theta)) for name in ("offsets", "links_ids"))
    for row, pose in enumerate(theta):
        turned = read_pose(pose, len(model.parents))
        shaped = model.shaped(betas[row], offsets[row])
        posed = shaped.posed(turned, links[row], bool(options.get("rotate", False)))
        joints19 = model.joints19 @ posed.vertices
        results.append({"verts": posed.vertices, "joints": joints19, "j3d": joints19, "Rs": posed.rotations})
    made = _stacked(results)
    if call.call == "get_details":
        made["j2d"] = camera[:, None, :1] * (made["j3d"][..., :2] + camera[:, None, 1:])
    return made


def _smplh(call: Call) -> Mapping[str, Any]:
    model = read_body(call.files["body_model"])
    assert model.hands is not None
    use_pca = {**call.arguments, **call.options}["use_pca"]
    offsets, links = (_rows(call, name, len(call.inputs["theta"])) for name in ("offsets", "links_ids"))
    results = []
    for row, pose in enumerate(call.inputs["theta"]):
        full = model.hands.with_components(pose) if use_pca else model.hands.with_mean(pose)
        turned = forms.from_vectors_by_quaternions(full.reshape(-1, 3))
        posed = model.shaped(call.inputs["beta"][row], offsets[row]).posed(turned, links[row])
        results.append({"verts": posed.vertices, "joints": posed.joints, "full_pose": full})
    return _stacked(results)


ADAPTERS: dict[tuple[str, str, str], Callable[[Call], Mapping[str, Any]]] = {
    ("liquid_warping", "function", "smpl_body_model"): _smpl,
    ("liquid_warping", "function", "smplh_body_model"): _smplh,
}
