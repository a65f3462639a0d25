"""SMPLify's side of a body: prior, losses and refinement by gradients."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.body.synthetic import synthetic_body
from engine.mesh import rotations as forms
from trainers.errors import CheckpointError, RecipeError
from trainers.liquid_warping.body.losses import Seen, Weights, projected, unnatural, unsteady
from trainers.liquid_warping.body.prior import PosePrior, read_prior
from trainers.liquid_warping.body.refine import METHODS, camera_translation, refine
from trainers.liquid_warping.body.skin import FIELDS, Skin


def _skin() -> Skin:
    model = synthetic_body()
    return Skin({name: getattr(model, name) for name in FIELDS}, model.parents)


def _prior() -> PosePrior:
    """Rest, give or take 20 degrees."""
    return PosePrior(torch.zeros(2, 69), 0.12 * torch.eye(69).repeat(2, 1, 1), torch.tensor([0.4, 0.6]))


def _scene(samples: int) -> tuple[Tensor, Tensor, Tensor, Seen]:
    """True pose and shape, a camera, and where the true joints are seen."""
    numbers = torch.Generator().manual_seed(3)
    pose = 0.15 * torch.randn(samples, 72, generator=numbers)
    pose[:, :3] = torch.tensor([torch.pi, 0.0, 0.0])
    betas = 0.5 * torch.randn(samples, 10, generator=numbers)
    translation = camera_translation(torch.tensor([[0.9, 0.02, 0.1]]).repeat(samples, 1), 224, 5000)
    centre = torch.full((samples, 2), 112.0)
    with torch.no_grad():
        joints = _skin().seen(pose, betas)
        flat = projected(joints, translation, centre, 5000)
    return pose, betas, translation, Seen(flat, torch.ones(flat.shape[:2]), centre)


def test_the_skin_is_the_engines_own() -> None:
    """Vertices and joints with gradients are those that run live."""
    numbers = np.random.default_rng(1)
    pose, betas = (0.4 * numbers.standard_normal(72)).astype(np.float32), numbers.standard_normal(10)
    expected = (
        synthetic_body().shaped(betas.astype(np.float32)).posed(forms.from_vectors(pose.reshape(24, 3)))
    )
    vertices, joints = _skin()(torch.from_numpy(pose)[None], torch.from_numpy(betas).float()[None])
    np.testing.assert_allclose(vertices[0].numpy(), expected.vertices, atol=2e-6)
    np.testing.assert_allclose(joints[0].numpy(), expected.joints, atol=2e-6)


def test_points_of_a_regressor_take_the_joints_place() -> None:
    """A file's own regressor of points is read off the posed vertices."""
    model = synthetic_body()
    points = torch.eye(len(model.template))[:3]
    skin = Skin({name: getattr(model, name) for name in FIELDS}, model.parents, points)
    vertices, _ = skin(torch.zeros(1, 72), torch.zeros(1, 10))
    torch.testing.assert_close(skin.seen(torch.zeros(1, 72), torch.zeros(1, 10)), vertices[:, :3])


@pytest.mark.parametrize("method", METHODS)
def test_refinement_moves_joints_onto_their_points(method: Any) -> None:
    """From a first guess that is off, the loss falls and joints come nearer in every sample."""
    pose, betas, translation, seen = _scene(2)
    guess = pose + 0.1 * torch.randn(pose.shape, generator=torch.Generator().manual_seed(4))
    skin, prior = _skin(), _prior()
    found = refine(skin, guess, torch.zeros_like(betas), translation, seen, prior, method=method)
    assert bool((found.after < 0.7 * found.before).all())

    def away(pose: Tensor, betas: Tensor) -> Tensor:
        with torch.no_grad():
            joints = skin.seen(pose, betas)
            return (projected(joints, translation, seen.centre, 5000) - seen.points).norm(dim=-1).mean(1)

    assert bool((away(found.pose, found.betas) < 0.7 * away(guess, torch.zeros_like(betas))).all())


def test_a_guess_that_cannot_be_bettered_is_kept() -> None:
    """No sample comes back with a greater loss than it had."""
    pose, betas, translation, seen = _scene(2)
    weights = Weights(reprojection=0.0, pose=0.0, angle=0.0)
    found = refine(_skin(), pose, torch.zeros_like(betas), translation, seen, _prior(), weights)
    torch.testing.assert_close(found.pose, pose)
    assert bool((found.after <= found.before).all())


def test_samples_that_are_frames_are_held_together() -> None:
    """`steady` charges jumps between frames: an outlier's joint moves less than when frames stand alone."""
    pose, betas, translation, seen = _scene(3)
    pose, betas = pose[:1].repeat(3, 1), betas[:1].repeat(3, 1)
    points = seen.points[:1].repeat(3, 1, 1)
    points[1, 20] += 40.0
    jumping = Seen(points, seen.confidence, seen.centre)
    skin, prior = _skin(), _prior()
    weights = Weights(smooth_2d=10.0, smooth_3d=30.0)

    def jump(steady: bool) -> float:
        found = refine(skin, pose, betas, translation, jumping, prior, weights, steady=steady)
        with torch.no_grad():
            joints = skin.seen(found.pose, found.betas)
        return float(unsteady(joints, translation, jumping, weights).sum())

    assert jump(True) < 0.8 * jump(False)


def test_elbows_and_knees_of_the_wrong_bend_cost_much() -> None:
    """The sign of each hinge is SMPL's: a radian the wrong way costs seven times a straight one, the right way less."""
    pose = torch.zeros(4, 69)
    for row, (column, right) in enumerate(((52, -1.0), (55, 1.0), (9, 1.0), (12, 1.0))):
        pose[row, column] = right
    ahead, straight, back = unnatural(pose), unnatural(torch.zeros(4, 69)), unnatural(-pose)
    assert bool((ahead.sum(1) < straight.sum(1)).all())
    assert bool((back.max(1).values > 7).all())


def test_an_unknown_method_is_refused() -> None:
    """By its name, with those there are."""
    pose, betas, translation, seen = _scene(1)
    with pytest.raises(RecipeError, match=r"'sgd'.*lbfgs, adam"):
        refine(_skin(), pose, betas, translation, seen, _prior(), method="sgd")  # type: ignore[arg-type]


def _stored(**changes: Any) -> dict[str, Any]:
    stored = {
        "means": np.zeros((3, 69)),
        "covars": np.repeat(np.eye(69)[None], 3, 0),
        "weights": np.full(3, 1 / 3),
    }
    return {**stored, **changes}


def test_a_prior_is_read_without_unpickling(tmp_path: Path) -> None:
    """Means, covariances and weights; every protocol."""
    for protocol in range(6):
        path = tmp_path / f"gmm{protocol}.pkl"
        path.write_bytes(pickle.dumps(_stored(), protocol=protocol))
        at_rest = read_prior(path)(torch.zeros(1, 69))
        assert float(at_rest) == pytest.approx(np.log(3) + 69 / 2 * np.log(2 * np.pi), rel=1e-5)


class _Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"means": None}, "no arrays"),
        ({"covars": np.ones((3, 68, 69))}, "do not fit"),
        ({"covars": -np.repeat(np.eye(69)[None], 3, 0)}, "not positive"),
        ({"weights": np.array([0.5, 0.5, np.nan])}, "all finite"),
    ],
)
def test_a_prior_that_is_none_is_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Wrong shapes and values are named."""
    path = tmp_path / "gmm.pkl"
    stored = _stored(**changes)
    if stored["means"] is None:
        stored["means"] = "text"
    path.write_bytes(pickle.dumps(stored))
    with pytest.raises(CheckpointError, match=words):
        read_prior(path)


def test_a_missing_prior_and_a_hostile_one_are_named(tmp_path: Path) -> None:
    """Which file to bring, which field is missing; nothing of a file runs."""
    with pytest.raises(CheckpointError, match=r"gmm_08\.pkl"):
        read_prior(tmp_path / "gmm.pkl")
    path = tmp_path / "gmm.pkl"
    path.write_bytes(pickle.dumps({"means": np.zeros((3, 69))}))
    with pytest.raises(CheckpointError, match="has no covars, weights"):
        read_prior(path)
    path.write_bytes(pickle.dumps(_stored(means=_Runs(tmp_path / "made"))))
    with pytest.raises(CheckpointError, match="mkdir"):
        read_prior(path)
    assert not (tmp_path / "made").exists()
