"""Liquid Warping GAN's body model under the official names of the fixtures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from engine.body.files import read_body
from engine.body.model import read_pose
from engine.mesh import rotations as forms
from tests.parity.fixtures import Call
from trainers.liquid_warping.body import losses
from trainers.liquid_warping.body.prior import read_prior


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


def _smplify(call: Call) -> Mapping[str, Any]:
    given = {**call.arguments, **call.options}
    if call.call == "gmof":
        first, last, count = given["linspace"]
        return {"gmof": losses.robust(torch.linspace(first, last, count), given["sigma"])}
    if call.call == "angle_prior":
        return {"angle_prior": losses.unnatural(call.tensor("pose"))}
    prior = read_prior(call.files["weights"])
    if call.call == "MaxMixturePrior":
        return {"gmm": prior(call.tensor("pose"))}
    weights = losses.Weights(
        focal=given["focal_length"],
        sigma=given["sigma"],
        pose=given["pose_prior_weight"],
        shape=given["shape_prior_weight"],
        angle=given["angle_prior_weight"],
        smooth_2d=given["smooth_2d_weight"],
        smooth_3d=given["smooth_3d_weight"],
    )
    seen = losses.Seen(*(call.tensor(name) for name in ("joints_2d", "joints_conf", "camera_center")))
    joints, translation = call.tensor("model_joints"), call.tensor("camera_t")
    if given["output"] == "reprojection":
        return {"loss": losses.reprojection(joints, translation, seen, weights)}
    loss = losses.fitting(
        call.tensor("body_pose"), call.tensor("betas"), joints, translation, seen, prior, weights
    )
    if call.call == "temporal_body_fitting_loss":
        loss = loss + losses.unsteady(joints, translation, seen, weights)
    return {"loss": loss.sum() if given["output"] == "sum" else loss}


ADAPTERS: dict[tuple[str, str, str], Callable[[Call], Mapping[str, Any]]] = {
    ("liquid_warping", "function", "smpl_body_model"): _smpl,
    ("liquid_warping", "function", "smplh_body_model"): _smplh,
    ("liquid_warping", "function", "smplify_losses"): _smplify,
}
