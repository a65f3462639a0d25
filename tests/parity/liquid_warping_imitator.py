"""Liquid Warping GAN from pictures to pictures, as its official imitator and swapper put it together: the body and mesh
of the engine, and the trainers' generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.body.files import read_body
from engine.body.model import BodyModel, Shaped, read_pose
from engine.mesh import cameras, files, ground, motion, selection, texture, views
from engine.mesh.flow import condition, corners_of, flow
from engine.mesh.raster import Raster, rasterise
from engine.mesh.views import View
from tests.parity.fixtures import Array, Call
from trainers.liquid_warping.generator import Features, LiquidWarpingGenerator, composed

Results = Mapping[str, Any]


def posed(shaped: Shaped, pose: Array, links: Array | None = None) -> Array:
    """Vertices, with the mean hands of a body that has hands."""
    model = shaped.model
    if model.hands is not None and pose.size < 3 * len(model.parents):
        pose = model.hands.with_mean(pose)
    return shaped.posed(read_pose(pose, len(model.parents)), links).vertices


def lowest(model: BodyModel, rows: Array) -> Array:
    """The lowest point of every frame's body, in the first frame's shape."""
    shaped = model.shaped(rows[0, -motion.BETAS :])
    return np.array([posed(shaped, row[3 : -motion.BETAS])[:, 1].max() for row in rows])


def stabilised(model: BodyModel, rows: Array) -> Array:
    steady = ground.stabilised(rows[:, :3], lowest(model, rows))
    betas = np.tile(rows[0, -motion.BETAS :], (len(rows), 1))
    return np.concatenate([steady, rows[:, 3 : -motion.BETAS], betas], axis=1)


@dataclass
class Frame:
    """A target's mesh: drawn, its condition, its corners; and what the networks are given of it."""

    raster: Raster
    condition: Array
    corners: Array
    ports: Array
    flows: Array


class Meshes:
    """Of a fixture's mesh files and options: what the engine makes of points and pictures."""

    def __init__(self, call: Call) -> None:
        options = call.arguments["opt"]
        assert options.get("map_name", "uv_seg") == "uv_seg"
        assert not options["use_inpaintor"]
        self.layout = files.read_files({role: call.files[role] for role in files.NAMES})
        self.size = options["image_size"]
        self.texture = self.layout.drawn(self.size)
        self.boxes = {"confident": options["conf_erode_ks"], "reach": options["out_dilate_ks"]}
        self.background_box = options["bg_ks"]
        self.only_seen = options["only_vis"]

    def view(self, points: Array, picture: Array, person: Array, filled: Array | None = None) -> View:
        return views.prepared(picture, person, points, self.layout, **self.boxes, filled=filled)

    def background(self, view: View) -> Array:
        return views.known_background(view, self.background_box)

    def ports(self, view: View) -> Array:
        return np.concatenate([view.filled, view.condition])

    def skin(self, of: list[View]) -> Array:
        return views.texture_of(of, self.texture, filled=True)

    def given(self, view: View, faces: Array | None = None) -> Array:
        return views.given(view, self.layout, faces, only_seen=self.only_seen)

    def frame(self, points: Array, skin: Array | None = None, sources: Sequence[Array] = ()) -> Frame:
        raster = rasterise(cameras.on_screen(points), self.layout.faces, self.size)
        seen = condition(raster, self.layout.condition)
        ports = np.zeros(0) if skin is None else views.target_of(raster, skin, self.layout)
        flows = [flow(raster, corners) for corners in sources]
        corners = corners_of(points, self.layout.faces)
        return Frame(raster, seen, corners, ports, np.stack(flows) if flows else np.zeros(0))

    def seen_corners(self, of: Frame | View) -> Array:
        near = views.neighbours_of(self.layout)
        return selection.visible(of.corners, of.raster.index, near)


@dataclass
class Person:
    """Somebody's sources, prepared."""

    views: list[View]
    texture: Array
    background: Tensor
    features: Features
    cameras: Array
    betas: Array
    links: Array | None
    offsets: Array | None


@dataclass
class Earlier:
    """A frame that later ones attend to."""

    corners: Array
    features: Features


class Imitator:
    """One fixture's official objects."""

    def __init__(self, call: Call, generator: LiquidWarpingGenerator) -> None:
        self.meshes = Meshes(call)
        self.body = read_body(call.files["body_model"])
        self.generator = generator

    def person(
        self,
        images: Array,
        rows: Array,
        masks: Array,
        links: Array | None = None,
        offsets: Array | None = None,
        filled: Array | None = None,
    ) -> Person:
        pictures = (images / np.float32(255.0) * 2 - 1).transpose(0, 3, 1, 2).astype(np.float32)
        own = []
        for i, (row, picture, mask) in enumerate(zip(rows, pictures, masks, strict=True)):
            points = self.placed(row[:3], row[3 : -motion.BETAS], row[-motion.BETAS :], links, offsets)[1]
            own.append(self.meshes.view(points, picture, mask[0], None if filled is None else filled[i]))
        ports = torch.from_numpy(np.stack([self.meshes.ports(view) for view in own]))[None]
        behind = torch.from_numpy(self.meshes.background(own[0]))[None, None]
        return Person(
            own,
            self.meshes.skin(own),
            self.generator.backgrounds(behind)[:, 0],
            self.generator.encode(ports),
            rows[:, :3],
            rows[:, -motion.BETAS :],
            links,
            offsets,
        )

    def placed(
        self, camera: Array, pose: Array, betas: Array, links: Array | None, offsets: Array | None
    ) -> tuple[Array, Array]:
        """Vertices, and as the camera places them."""
        vertices = posed(self.body.shaped(betas, offsets), pose, links)
        return vertices, cameras.project_with_depth(vertices, camera.astype(np.float32))

    def redrawn(self, person: Person, vertices: Array, camera: Array) -> Frame:
        """A target from given vertices."""
        points = cameras.project_with_depth(vertices, camera.astype(np.float32))
        return self.meshes.frame(points, person.texture, [self.meshes.given(view) for view in person.views])

    def frame(
        self, person: Person, row: Array, first: Array, strategy: str, given: list[Array] | None = None
    ) -> tuple[Frame, Array, Array]:
        """The target, its vertices, its camera. given: the sources' corners, all of them without it."""
        camera = cameras.swapped(person.cameras[0], row[:3], first[:3], strategy)
        pose = row[3 : -motion.BETAS]
        vertices, points = self.placed(camera, pose, person.betas[0], person.links, person.offsets)
        corners = [self.meshes.given(view) for view in person.views] if given is None else given
        return self.meshes.frame(points, person.texture, corners), vertices, camera

    def shown(
        self, person: Person, target: Frame, earlier: list[Earlier] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Picture (1, 3, S, S) and mask (1, 1, S, S)."""
        flows, features = [*target.flows], person.features
        for one in earlier or ():
            flows.append(flow(target.raster, one.corners))
            features = features.joined(one.features)
        grid = torch.from_numpy(np.stack(flows))[None]
        image, mask = self.generator.transfer(torch.from_numpy(target.ports)[None], features, grid)
        return composed(image, mask, person.background), mask

    def clip(
        self,
        person: Person,
        rows: Array,
        strategy: str,
        kept: int = 0,
        given: list[Array] | None = None,
    ) -> Array:
        """(n, 3, S, S). kept: how many earlier frames each one attends to."""
        if strategy == "smooth":
            rows = stabilised(self.body, rows)
        earlier: list[Earlier] = []
        pictures = []
        for row in rows:
            target, _, _ = self.frame(person, row, rows[0], strategy, given)
            picture, _ = self.shown(person, target, earlier)
            pictures.append(picture[0].numpy())
            if kept:
                condition = torch.from_numpy(target.condition)[None]
                features = self.generator.encode(torch.cat((picture, condition), 1)[:, None])
                earlier = [*earlier, Earlier(target.corners, features)][-kept:]
        return np.stack(pictures)


def _source(imitator: Imitator, call: Call) -> Person:
    given = call.inputs
    return imitator.person(
        given["src_images"],
        given["src_smpl"],
        given["src_masks"],
        given["links"],
        given["offsets"],
        given.get("morph_img"),
    )


def source_setup(imitator: Imitator, call: Call) -> Results:
    person = _source(imitator, call)
    of = person.views
    return {
        "uv_img": person.texture[None],
        "cond": np.stack([view.condition for view in of]),
        "f2pts": np.stack([view.corners for view in of]),
        "only_vis_f2pts": np.stack([imitator.meshes.seen_corners(view) for view in of]),
        "confidant_sil": np.stack([view.trusted for view in of])[:, None],
        "outpad_sil": np.stack([view.reach for view in of])[:, None],
        "fim": np.stack([view.raster.index for view in of]),
        "bg": person.background,
        "feat_enc_last": person.features.levels[-1][0],
        "feat_res_last": person.features.deep[-1][0],
    }


def one_step(imitator: Imitator, call: Call) -> Results:
    person = _source(imitator, call)
    rows = stabilised(imitator.body, call.inputs["tgt_smpls"])
    row = rows[call.options["frame"]]
    target, vertices, camera = imitator.frame(person, row, rows[0], call.options["cam_strategy"])
    official = call.expected.get("step0.verts", vertices[None])[0]  # see the flows' adapter for why
    np.testing.assert_allclose(vertices, official, rtol=0, atol=1e-5)
    target = imitator.redrawn(person, official, camera)
    picture, mask = imitator.shown(person, target)
    return {
        "input_G_tsf": target.ports[None, None],
        "Tst": target.flows[None],
        "verts": vertices[None],
        "cam": camera[None],
        "fim": target.raster.index[None],
        "mask": mask,
        "pred": picture,
    }


def imitation(imitator: Imitator, call: Call) -> Results:
    options = call.options
    person = _source(imitator, call)
    kept = options["time_step"] if options.get("temporal") else 0
    return {"preds": imitator.clip(person, _targets(call), options["cam_strategy"], kept)}


def _targets(call: Call) -> Array:
    return call.inputs["tgt_smpls"][slice(*call.options.get("frames", (None,)))]


def swap(imitator: Imitator, call: Call) -> Results:
    """Parts of several persons on the body of the primary one."""
    given, options = call.inputs, call.options
    people = [
        _source(imitator, call),
        imitator.person(
            given["srcB_images"], given["srcB_smpl"], given["srcB_masks"], None, given["offsets"]
        ),
    ]
    shares = selection.shared_out(imitator.meshes.layout, options["swap_parts"], options["primary_ids"])
    primary = people[options["primary_ids"]]
    size = imitator.meshes.size
    reached = []
    for person, faces in zip(people, shares, strict=True):
        own = selection.only(person.views[0].texture_corners, faces)
        reached.append(texture.inside((3, size, size), own, imitator.meshes.texture))
    of = [view for person in people for view in person.views]
    counts = [len(person.views) for person in people]
    own_faces = [faces for faces, count in zip(shares, counts, strict=True) for _ in range(count)]
    selected = [imitator.meshes.given(view, faces) for view, faces in zip(of, own_faces, strict=True)]
    features = people[0].features
    for other in people[1:]:
        features = features.joined(other.features)
    mixed = texture.blended([person.texture for person in people], reached)
    joined = replace(primary, views=of, texture=mixed, features=features)
    found: dict[str, Any] = {
        "uv_img": mixed[None],
        "bg": primary.background,
        "selected_f2pts": np.stack(selected),
    }
    if "cam_strategy" in options:
        found["preds"] = imitator.clip(joined, _targets(call), options["cam_strategy"], given=selected)
        found["preds_all_faces"] = imitator.clip(joined, _targets(call), options["cam_strategy"])
    return found


CALLS = {
    "Imitator.source_setup": source_setup,
    "WeakPerspectiveCamera.stabilize": lambda imitator, call: {
        "stabilized": stabilised(imitator.body, call.inputs["smpls"])
    },
    "make_inputs_for_tsf and forward": one_step,
    "Imitator.inference": imitation,
    "Swapper.swap_source_setup and inference": swap,
    "Swapper.swap_source_setup": swap,
}


@torch.no_grad()
def imitated(call: Call, generator: LiquidWarpingGenerator) -> Results:
    return CALLS[call.call](Imitator(call, generator), call)
