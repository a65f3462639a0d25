"""Liquid Warping GAN's rasteriser, flows and cameras under the official names of the fixtures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from engine.body.files import read_body
from engine.mesh import cameras, ground, layout, lowpass, masks, motion, rotations, selection
from engine.mesh.flow import condition, flow
from engine.mesh.raster import Raster, rasterise
from engine.mesh.views import NEIGHBOURS, View, neighbours_of
from tests.parity import adapt_liquid_warping
from tests.parity.fixtures import Array, Call
from tests.parity.liquid_warping_imitator import Frame, Meshes, imitated, lowest, posed, stabilised

Results = Mapping[str, Any]


def raster(call: Call) -> Results:
    assert not call.arguments["anti_aliasing"]
    limits = {name: call.arguments[name] for name in ("near", "far")}
    corners = np.ascontiguousarray(call.inputs["faces"].reshape(-1, 3))
    faces = np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    drawn = rasterise(corners, faces, int(call.inputs["image_size"]), **limits)
    found = {"face_index_map": drawn.index, "weight_map": drawn.weights, "depth": drawn.depth}
    return {**found, "weight_map_fp64": drawn.weights, "depth_fp64": drawn.depth}


def _perspective(call: Call) -> Array:
    inputs = call.inputs
    return cameras.perspective(
        inputs["points"],
        inputs["rotation"],
        inputs["translation"],
        call.options["focal_length"],
        inputs["camera_center"],
    )


ROTATIONS: Mapping[str, Callable[[Array], Array]] = {
    "batch_smpl.batch_rodrigues": rotations.from_vectors,
    "smplx.lbs.batch_rodrigues": rotations.from_vectors,
    "rotvec_to_rotmat": rotations.from_vectors_by_quaternions,
    "rot6d_to_rotmat": rotations.from_6d,
    "rotmat_to_rot6d": rotations.to_6d,
    "rotmat_to_rotvec": rotations.to_vectors,
    "quat_to_rotmat": rotations.from_wxyz,
    "batch_quat_rotation": rotations.from_xyzw,
    "quaternion_to_angle_axis": rotations.wxyz_to_vectors,
    "angle_axis_to_quaternion": rotations.vectors_to_wxyz,
}


def turned(call: Call) -> Results:
    if call.call == "perspective_projection":
        return {call.name: _perspective(call)}
    (given,) = call.inputs.values()
    return {call.name: ROTATIONS[call.call](given)}


def morphology(call: Call) -> Results:
    if call.call == "CannyFilter":
        return _edges(call.inputs["img"])
    (mask,) = call.inputs.values()
    grown = masks.soft_dilated if call.call == "soft_dilate" else None
    rule = grown or {"erode": masks.eroded, "dilate": masks.dilated}[call.options["mode"]]
    return {"mask": rule(mask, call.options["ks"])}


def _edges(silhouettes: Array) -> Results:
    """What the fixture compares of the edge step, which the boundary fill took the place of: nothing else uses it."""
    across = np.linspace(-1, 1, 3)
    distances = np.hypot(*np.meshgrid(across, across))
    blur = np.exp(-(distances**2) / 2)
    slope = np.array([[-0.5, 0, 0.5], [-1, 0, 1], [-0.5, 0, 0.5]])
    found = []
    for plane in silhouettes.reshape(-1, *silhouettes.shape[-2:]).astype(np.float64):
        blurred = _convolved(plane, blur / blur.sum())
        gx, gy = _convolved(blurred, slope), _convolved(blurred, slope.T)
        found.append((blurred, gx, np.hypot(gx, gy)))
    planes = np.array(found).transpose(1, 0, 2, 3).reshape(3, *silhouettes.shape)
    return dict(zip(("blurred", "grad_x", "grad_magnitude"), planes, strict=True))


def _convolved(plane: Array, kernel: Array) -> Array:
    return cv2.filter2D(plane, cv2.CV_64F, kernel, borderType=cv2.BORDER_CONSTANT)


def smoothing(call: Call) -> Results:
    assert call.arguments["sampling"] == lowpass.RATE
    return SMOOTHING[call.call](call)


def _smoothed(call: Call) -> Results:
    return {
        "smpls": motion.smoothed(call.inputs["ref_smpls"], call.options["pose_fc"], call.options["cam_fc"])
    }


def _without_outliers(call: Call) -> Results:
    poses = call.inputs
    return {
        "pose": motion.without_outliers(
            poses["opt_pose_rotvec"], poses["init_pose_rotvec"], call.options["threshold"]
        )
    }


def _stopped(call: Call) -> Results:
    rows, frames = motion.stopped(call.inputs["smpls"], call.options["bt_list"])
    return {"smpls": rows, "frames": frames}


SMOOTHING: Mapping[str, Callable[[Call], Results]] = {
    "temporal_smooth_smpls": _smoothed,
    "get_smooth_params": lambda call: {
        "sig": lowpass.zero_phase(call.inputs["sig"], call.options["fc"], call.options["n"])
    },
    "fist_order_low_pass_filter": lambda call: {
        "signal": lowpass.first_order(call.inputs["signal"], call.options["alpha"])
    },
    "pose_temporal_smooth": _without_outliers,
    "create_T_pose_novel_view_smpl": lambda call: {"smpls": motion.turntable(call.options["length"])},
    "add_view_effect": lambda call: {
        "smpls": motion.seen_from(call.inputs["smpls"], call.options["view_dir"])
    },
    "add_hands_params_to_smpl": lambda call: {
        "smpls": motion.with_hands(call.inputs["smpls"], call.inputs["hands_param"])
    },
    "add_bullet_time_effect": _stopped,
}


def seen_by(call: Call) -> Results:
    inputs = call.inputs
    if call.call.startswith("WeakPerspectiveCamera.cam_swap"):
        strategy = call.options["strategy"]
        return {"cam": cameras.swapped(inputs["src_cam"], inputs["ref_cam"], inputs["first_cam"], strategy)}
    if "smpls" in inputs:
        return _grounded(call)
    if call.call == "batch_orth_proj_idrot":
        return {"proj": cameras.project(inputs["X"], inputs["camera"])}
    if call.call == "orthographic_proj_withz_idrot":
        return {"proj_withz": cameras.project_with_depth(inputs["X"], inputs["cam"])}
    if call.call == "cam_init2orig":
        return {
            "cam": cameras.from_crop(inputs["cam"], inputs["scale"], inputs["start_pt"], call.options["N"])
        }
    assert call.call == "cam_norm"
    return {"cam": cameras.normalised(inputs["cam"], call.options["N"])}


def _grounded(call: Call) -> Results:
    rows = call.inputs["smpls"]
    if call.call.endswith("get_jump_mask"):
        seen = call.inputs["foot_y"] + rows[:, 2]
        return {
            "jump_mask": ground.jumping(seen),
            "jump_intervals": np.array(ground.jumps(seen)).reshape(-1, 2),
        }
    model = read_body(call.files["body_model"])
    if call.call.endswith("infer_smpl_foot_y"):
        return {"foot_y": lowest(model, rows)}
    return {"stabilize": stabilised(model, rows)}


def _many(rows: Array) -> Array:
    return rows.reshape(-1, rows.shape[-1])


class Flows:
    """FlowComposition's calls, for one fixture's case.

    Drawing starts from the official vertices, which ours have to agree with. Skinning is sums of products in an order
    that each BLAS has for itself, and a thin face magnifies the last digit of a vertex: at 64 pixels, weights from
    vertices 1e-7 apart differ by up to 7e-5, while from the same vertices they are equal to the last bit.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self.body = read_body(call.files["body_model"])
        self.meshes = Meshes(call)
        assert call.arguments["renderer"]["top_k"] == NEIGHBOURS

    def results(self) -> Results:
        return {
            "forward": self.tables,
            "render_uv_fim_wim": self.texture,
            "add_rendered_f2verts_fim_wim": self.details,
            "FlowComposition.forward": self.training,
            "cal_bc_transform": self.own_flow,
            "get_selected_f2pts": self.selected,
            "make_trans_flow": self.live_flow,
            "encode_front_fim": self.front,
        }[self.call.call]()

    def tables(self) -> Results:
        held = self.meshes.layout
        steps = 3
        depth = np.ones((held.count, 3, 1), np.float32)
        return {
            "map_fn": held.condition,
            "front_map_fn": held.table(held.groups["head"]),
            "f_img2uvs": np.concatenate([held.condition_corners, depth], axis=2),
            "f_uvs2img": held.corners,
            "coords": layout.weights_of(steps),
            "img2uv_sampler": layout.samples(held.corners, steps),
            "face_k_nearest": neighbours_of(held),
        }

    def texture(self) -> Results:
        drawn = self.meshes.texture
        return {"fim": drawn.index[None], "wim": drawn.weights[None]}

    def _placed(self, kind: str) -> tuple[Array, list[Array]]:
        """Our vertices of all rows, and as their cameras place the official ones."""
        rows = _many(self.call.inputs[f"{kind}_smpl"])
        betas, pose = slice(-motion.BETAS, None), slice(3, -motion.BETAS)
        own = np.stack([posed(self.body.shaped(row[betas]), row[pose]) for row in rows])
        official = self.call.expected.get(f"{kind}.verts", own)
        np.testing.assert_allclose(own, official, rtol=0, atol=1e-5)
        return own, [
            cameras.project_with_depth(one, row[:3]) for one, row in zip(official, rows, strict=True)
        ]

    def details(self) -> Results:
        if "ref_smpl" in self.call.inputs:
            own, placed = self._placed("ref")
            return self._rendered([self.meshes.frame(points) for points in placed], own)
        own, placed = self._placed("src")
        views = self._views(placed)
        held = self.meshes.layout
        read = [
            rasterise(cameras.on_screen(points), held.texture_faces, self.meshes.size) for points in placed
        ]
        return {
            **self._rendered(views, own),
            "obj_fim": np.stack([one.index for one in read]),
            "obj_f2pts": np.stack([view.texture_corners for view in views]),
            "only_vis_obj_f2pts": np.stack([view.visible_corners for view in views]),
            "confidant_sil": np.stack([view.trusted for view in views])[:, None],
            "outpad_sil": np.stack([view.reach for view in views])[:, None],
        }

    def _views(self, placed: list[Array], filled: Array | None = None) -> list[View]:
        size = self.meshes.size
        persons = 1 - self.call.inputs["src_mask"].reshape(-1, size, size)
        blank = np.zeros((len(persons), 3, size, size), np.float32)
        pictures = self.call.inputs.get("src_img", blank).reshape(-1, 3, size, size)
        return [
            self.meshes.view(points, picture, person, None if filled is None else filled[i])
            for i, (points, picture, person) in enumerate(zip(placed, pictures, persons, strict=True))
        ]

    def _rendered(self, drawn: Sequence[View | Frame], vertices: Array) -> Results:
        return {
            "verts": vertices,
            "fim": np.stack([one.raster.index for one in drawn]),
            "wim": np.stack([one.raster.weights for one in drawn]),
            "cond": np.stack([one.condition for one in drawn]),
            "f2pts": np.stack([one.corners for one in drawn]),
            "only_vis_f2pts": np.stack([self.meshes.seen_corners(one) for one in drawn]),
        }

    def training(self) -> Results:
        given = self.call.inputs
        count, sources, times = *given["src_smpl"].shape[:2], given["ref_smpl"].shape[1]
        views = self._views(self._placed("src")[1], given["morph_img"])
        groups = [views[i * sources : (i + 1) * sources] for i in range(count)]
        textures = [self.meshes.skin(group) for group in groups]
        targets = self._placed("ref")[1]
        frames = [
            self.meshes.frame(
                points, textures[i // times], [self.meshes.given(view) for view in groups[i // times]]
            )
            for i, points in enumerate(targets)
        ]
        before = [self.meshes.given(frame) for frame in frames]
        # the official slices run over the whole batch, whoever is in it
        between = [flow(frames[i + count].raster, before[i]) for i in range(len(frames) - count)]
        assert not self.call.arguments["opt"]["share_bg"]
        shape = (count, sources)
        return {
            "input_G_bg": _folded([self.meshes.background(view) for view in views], shape),
            "input_G_src": _folded([self.meshes.ports(view) for view in views], shape),
            "input_G_tsf": _folded([frame.ports for frame in frames], (count, times)),
            "Tst": _folded([frame.flows for frame in frames], (count, times)),
            "Ttt": _folded(between, (count, times - 1)),
            "uv_img": np.stack(textures),
        }

    def own_flow(self) -> Results:
        given = self.call.inputs
        maps = zip(given["src_f2pts"], given["dst_fims"], given["dst_wims"], strict=True)
        return {"T": np.stack([flow(_raster(index, weights), corners) for corners, index, weights in maps])}

    def selected(self) -> Results:
        lists = self.call.inputs["selected_fids"]
        corners = self.call.inputs["f2pts"]
        return {
            "f2pts": np.stack([selection.only(one, lists[i % len(lists)]) for i, one in enumerate(corners)])
        }

    def live_flow(self) -> Results:
        sources = [self.meshes.frame(points) for points in self._placed("src")[1]]
        frames = [self.meshes.frame(points) for points in self._placed("ref")[1]]
        options = self.call.options
        first, second = frames[0].raster, frames[1]
        given = [flow(first, self.meshes.given(one)) for one in sources[: options["ns"]]]
        assert (options["bs"], options["nt"], options["temporal"]) == (1, 1, True)
        return {"Tst": np.stack(given)[None], "Ttt": flow(first, second.corners)[None, None]}

    def front(self) -> Results:
        table = self.meshes.layout.table(self.meshes.layout.groups["head"])
        planes = [condition(_raster(index), table) for index in self.call.inputs["fim"]]
        return {"mask": np.stack(planes)}


def _folded(rows: list[Array], shape: tuple[int, int]) -> Array:
    array = np.stack(rows)
    return array.reshape(*shape, *array.shape[1:])


def _raster(index: Array, weights: Array | None = None) -> Raster:
    size = len(index)
    if weights is None:
        weights = np.zeros((size, size, 3), np.float32)
    plane = np.zeros((size, size), np.float32)
    return Raster(index, weights, plane, plane[0])


def imitator(call: Call) -> Results:
    network = adapt_liquid_warping.named_generator(call.arguments["generator"])
    return imitated(call, adapt_liquid_warping.filled(network, call.state(), call.mode))


ADAPTERS: dict[tuple[str, str, str], Callable[[Call], Mapping[str, Any]]] = {
    ("liquid_warping", "function", "raster"): raster,
    ("liquid_warping", "function", "imitator_end_to_end"): imitator,
    ("liquid_warping", "function", "rotations"): turned,
    ("liquid_warping", "function", "cameras"): seen_by,
    ("liquid_warping", "function", "flow_composition"): lambda call: Flows(call).results(),
    ("liquid_warping", "function", "morphology"): morphology,
    ("liquid_warping", "function", "motion_smoothing"): smoothing,
}
