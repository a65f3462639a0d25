"""GANimation's networks, losses, step and reader under the official names of the fixtures."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from tests.parity.fixtures import Call
from trainers.ganimation import losses
from trainers.ganimation.adversarial import Real, critic_step, generator_step, penalty_step
from trainers.ganimation.containers import clean
from trainers.ganimation.networks import Generator, compose, saturate
from trainers.ganimation.panels import panels
from trainers.layouts.ganimation import open_aus_folder
from trainers.layouts.openface import read_openface
from trainers.system import Turn

Results = Mapping[str, Any]


def _generator(call: Call, state: Any, arguments: Mapping[str, Any]) -> Generator:
    """The network that the container's shapes give, which must be the one that the fixture names."""
    cleaned = clean(state)
    assert {name: cleaned.arguments[name] for name in arguments} == dict(arguments)
    return cleaned.build().train(call.mode == "train")


_discriminator = _generator


@torch.no_grad()
def generator(call: Call) -> Results:
    network = _generator(call, call.state(), call.arguments)
    x = call.tensor("x")
    colour, mask = network(x, call.tensor("c"))
    saturated = saturate(mask)
    return {
        "color": colour,
        "mask": mask,
        "composed": compose(x, colour, mask),
        "mask_saturated": saturated,
        "composed_saturated": compose(x, colour, saturated),
    }


@torch.no_grad()
def discriminator(call: Call) -> Results:
    network = _discriminator(call, call.state(), call.arguments)
    scores, units = network(call.tensor("x"))
    return {"prob": scores, "aux": units, "features": network.main(call.tensor("x"))}


def either(call: Call) -> Results:
    return {"generator": generator, "discriminator": discriminator}[call.network](call)


def _mask_smooth(call: Call) -> Results:
    raw = losses.smooth_absolute(call.tensor("mask"))
    return {"raw": raw, "weighted": call.arguments["lambda_mask_smooth"] * raw}


def _mask_mean(call: Call) -> Results:
    raw = losses.mask_mean(call.tensor("mask"))
    return {"raw": raw, "weighted": call.arguments["lambda_mask"] * raw}


def _cycle(call: Call) -> Results:
    return {"weighted": call.arguments["lambda_cyc"] * losses.cycle(call.tensor("rec"), call.tensor("real"))}


def _condition(call: Call) -> Results:
    loss = losses.condition_by_batch(call.tensor("au_pred"), call.tensor("au_target"))
    return {"weighted": call.arguments["lambda_D_cond"] * loss}


def _gradient_penalty(call: Call) -> Results:
    critic = _discriminator(call, call.state(), call.arguments["discriminator"])
    penalty = losses.gradient_penalty(critic, call.tensor("real"), call.tensor("fake"), call.tensor("alpha"))
    weighted = call.arguments["lambda_D_gp"] * penalty.value
    weighted.backward()
    return {
        "weighted": weighted,
        "grad_l2_per_sample": penalty.norms,
        "x_hat": penalty.between,
        "grad_wrt_x_hat": penalty.gradient,
        **{
            f"dgp_d.{name}": parameter.grad
            for name, parameter in critic.named_parameters()
            if parameter.grad is not None
        },
    }


LOSSES = {
    "mask_smooth": _mask_smooth,
    "mask_mean": _mask_mean,
    "cycle": _cycle,
    "condition": _condition,
    "adversarial_real": lambda call: {"loss": losses.adversarial_real(call.tensor("prob"))},
    "adversarial_fake": lambda call: {"loss": losses.adversarial_fake(call.tensor("prob"))},
    "saturate_mask": lambda call: {"mask": saturate(call.tensor("mask"))},
    "gradient_penalty": _gradient_penalty,
}


def loss(call: Call) -> Results:
    return LOSSES[call.name](call)


def inference_strip(call: Call) -> Results:
    network = _generator(call, call.state(), call.arguments["generator"])
    there, shown = panels(
        network,
        call.tensor("real_img"),
        call.tensor("real_cond"),
        call.tensor("desired_cond"),
        saturated=call.arguments["do_saturate_mask"],
    )
    first = shown[0]
    return {
        "composed": there.composed,
        "strip_uint8": np.concatenate(first, axis=1),
        "real_uint8": first[0],
        "fake_masked_uint8": first[1],
        "mask_uint8": first[2],
        "color_uint8": first[3],
    }


def training_step(call: Call) -> Results:
    """One iteration, with the gradients as they are right before each step of Adam."""
    networks = {
        name: _generator(call, call.weights[name], call.arguments[name])
        for name in ("generator", "discriminator")
    }
    given = call.arguments
    weights = losses.Weights(
        adversarial=given["lambda_D_prob"],
        condition=given["lambda_D_cond"],
        gradient_penalty=given["lambda_D_gp"],
        cycle=given["lambda_cyc"],
        mask=given["lambda_mask"],
        smooth=given["lambda_mask_smooth"],
        saturate_mask=given["do_saturate_mask"],
    )
    gradients: dict[str, Any] = {}
    optimisers = {}
    for name, network in networks.items():
        optimisers[name] = torch.optim.Adam(network.parameters(), **given["adam"])
        optimisers[name].register_step_pre_hook(_recorder(network, name[0].upper(), gradients))
    turn = Turn(stage="adversarial", optimisers=optimisers)
    real = Real(call.tensor("real_img"), call.tensor("real_cond"), call.tensor("desired_cond"))
    fake, first = critic_step(*networks.values(), real, weights, turn)
    alpha = call.tensor("alpha")
    second = penalty_step(networks["discriminator"], real.pictures, fake, alpha, weights, turn)
    _, third = generator_step(*networks.values(), real, weights, turn)
    after = {f"weights_after.{name}": network.state_dict() for name, network in networks.items()}
    return {**first, **second, **third, **gradients, **after}


def _recorder(network: torch.nn.Module, letter: str, gradients: dict[str, Any]) -> Any:
    steps = itertools.count(1)

    def record(*_: Any) -> None:
        step = next(steps)
        for name, parameter in network.named_parameters():
            if parameter.grad is not None:
                gradients[f"grad_{letter}_step{step}.{name}"] = parameter.grad.clone()

    return record


def action_unit_folder(call: Call) -> Results:
    """One sample of the official folder, found by its id among its split."""
    folder = call.files["expected"].parent
    named = {name: call.arguments[f"{name}_file"] for name in ("train_ids", "test_ids")}
    found = open_aus_folder(
        folder,
        _side(folder / call.arguments["images_folder"]),
        images=call.arguments["images_folder"],
        aus=call.arguments["aus_file"],
        check=False,
        **named,
    )
    faces = {"train": found.train, "test": found.validation}[call.options["split"]]
    index = faces.names.index(call.options["id"])
    tables = {path.stem: read_openface(path) for path in call.files["openface_csv"].glob("*.csv")}
    if faces.names[index] in tables:
        assert np.allclose(tables[faces.names[index]], faces.aus[index], atol=1e-3)
    return {"cond": faces.aus[index], "image": faces.image(index)}


def _side(images: Path) -> int:
    """Of the folder's square pictures."""
    return int(cv2.imread(str(next(images.iterdir()))).shape[0])


ADAPTERS = {
    ("ganimation", "dataset", "action_unit_folder"): action_unit_folder,
    ("ganimation", "training_step", "training_step"): training_step,
    ("ganimation", "network", "generator"): generator,
    ("ganimation", "network", "discriminator"): discriminator,
    ("ganimation", "network", "generator_and_discriminator"): either,
    ("ganimation", "function", "losses"): loss,
    ("ganimation", "function", "inference_strip"): inference_strip,
}
