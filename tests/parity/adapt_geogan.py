"""GeoGAN's networks, losses, step, composition and landmarks under the official names of the fixtures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tests.parity.fixtures import Call
from trainers.geogan import losses
from trainers.geogan.blocks import identity_grid, sample
from trainers.geogan.compose import official_compose, resized
from trainers.geogan.containers import clean, read_options
from trainers.geogan.networks import AttrMultiScalePatchDisc, Cycle, FlowGenerator, official_refinement_weight
from trainers.geogan.recipe import Losses
from trainers.geogan.step import adversarial_step, total
from trainers.layouts.celeba import normalise_landmarks, read_landmarks
from trainers.system import Turn

Results = Mapping[str, Any]
NORMS = {"instancenorm": "instance", "batchnorm": "batch", "layernorm": "layer"}


def _options(call: Call) -> Mapping[str, Any]:
    """The constructor's `opt`; where the fixture has an `opt.txt`, it says the same."""
    options = call.arguments["opt"]
    if "options" in call.files:
        written = read_options(call.files["options"])
        assert {name: written[name] for name in options if name in written} == {
            name: value for name, value in options.items() if name in written
        }
    return options


def _network(call: Call, state: Mapping[str, Tensor], epoch: int | None = None) -> Any:
    """The network that the container's shapes give, which must be the one that the fixture names."""
    options = _options(call)
    cleaned = clean(state, options=options, epoch=epoch, keep_dead=True)
    official = {
        "width": "ngf" if cleaned.account.network == "generator" else "ndf",
        "size": "img_size",
        "downsamples": "n_downsample",
        "blocks": "n_blocks",
        "only_residual": "only_res",
        "layers": "n_layers_D",
        "scales": "num_scale",
        "attributes": "nc",
    }
    for ours, theirs in official.items():
        if ours in cleaned.arguments:
            assert cleaned.arguments[ours] == options[theirs], ours
    assert cleaned.arguments["norm"] == NORMS[options["norm_layer"]]
    network = cleaned.build()
    assert list(network.state_dict()) == list(state)
    return network.train(call.mode == "train")


def _maps(cycle: Cycle) -> Results:
    there = cycle.there
    return {
        "fake_Ay": there.image,
        "By_flow": there.flow,
        "By_mask": there.mask_in_donor,
        "mask_in_Ax_frame": there.mask,
        "By_warpped": there.warped,
        "Ax_res": there.residual,
        "fake_Bx": cycle.removed,
        "fake_By": cycle.back.image,
        "fake_Ax": cycle.target_again,
        "rev_mask": cycle.back.mask_in_donor,
    }


@torch.no_grad()
def generator(call: Call) -> Results:
    network: FlowGenerator = _network(call, call.state(), call.options["epoch"])
    return _maps(network(call.tensor("Ax"), call.tensor("By")))


@torch.no_grad()
def discriminator(call: Call) -> Results:
    network: AttrMultiScalePatchDisc = _network(call, call.state())
    results: dict[str, Any] = {}
    for scale, judgement in enumerate(network(call.tensor("image"))):
        results[f"scale{scale}.patch"] = judgement.patch
        results[f"scale{scale}.attr"] = judgement.attributes[:, :, None, None]
        for index, feature in enumerate(judgement.features):
            results[f"scale{scale}.feat{index}"] = feature
    return results


def either(call: Call) -> Results:
    return {"generator": generator, "discriminator": discriminator}[call.network](call)


def _landmark(call: Call) -> Results:
    flow = call.tensor("flow").requires_grad_()
    loss = losses.landmark_error(flow, call.tensor("landmark_Ax"), call.tensor("landmark_By"))
    loss.backward()
    return {"loss": loss, "loss_times_10": Losses().landmark * loss, "grad_flow": flow.grad}


def _bilateral(call: Call) -> Results:
    options = call.arguments
    return {
        "loss": losses.colour_smoothness(
            call.tensor("flow"),
            call.tensor("image"),
            options["img_size"],
            options["patch_size"],
            options["lambda_color"],
        )
    }


def _least_squares(call: Call) -> Results:
    scores = [torch.from_numpy(array) for array in call.inputs["preds"]]
    return {"loss": losses.least_squares(scores, real=call.options["target_is_real"])}


def _warped(call: Call) -> Results:
    grid = identity_grid(call.arguments["img_size"])
    if "flow" not in call.inputs:
        return {"base_grid_xy": grid}
    return {"warped": sample(call.tensor("image"), grid + call.tensor("flow"))}


LOSSES = {
    "forward": _warped,
    "TVLoss": lambda call: {"loss": losses.total_variation(call.tensor("flow"))},
    "LandmarkRegLoss": _landmark,
    "FlowRegLoss": _bilateral,
    "GANLoss": _least_squares,
    "BCELoss": lambda call: {
        "loss": losses.attribute_entropy(call.tensor("attr_prob"), call.tensor("attr_label"))
    },
    "L1Loss": lambda call: {"loss": losses.mask_size(call.tensor("mask"))},
}


def loss(call: Call) -> Results:
    return LOSSES[call.call](call)


def high_resolution(call: Call) -> Results:
    if "size" in call.options:
        return {"Ax_downsampled": resized(call.tensor("Ax"), call.options["size"])}
    target, donor = call.tensor("Ax"), call.tensor("By")
    done = official_compose(target, donor, call.tensor("By_flow"), call.tensor("By_mask"))
    return {
        "warped": done.warped,
        "composed": done.image,
        "masked_Ax": done.of_target,
        "masked_By": done.of_donor,
    }


def _weights(options: Mapping[str, Any]) -> Losses:
    return Losses(
        attribute=options["lambda_cls"],
        reconstruction=options["lambda_gan_feat"],
        mask=options["lambda_mask"],
        flow=options["lambda_flow_reg"],
    )


def training_step(call: Call) -> Results:
    options, adam = call.arguments["opt"], call.arguments["adam"]
    epoch = int(call.inputs["epoch"])
    theirs: FlowGenerator = _network(call, call.weights["generator"], epoch)
    critic: AttrMultiScalePatchDisc = _network(call, call.weights["discriminator"])
    assert theirs.refinement_weight == official_refinement_weight(epoch, options["res_weight"])
    networks = {"generator": theirs, "critic": critic}
    settings = {"lr": adam["lr"], "betas": tuple(adam["betas"]), "eps": adam["eps"]}
    turn = Turn(
        stage="adversarial",
        optimisers={name: torch.optim.Adam(one.parameters(), **settings) for name, one in networks.items()},
    )
    pair = {
        "target": call.tensor("Ax"),
        "donor": call.tensor("By"),
        "target_labels": call.tensor("label_Ax"),
        "donor_labels": call.tensor("label_By"),
        "target_landmarks": call.tensor("landmark_Ax"),
        "donor_landmarks": call.tensor("landmark_By"),
    }
    _, given, judged = adversarial_step(theirs, critic, pair, _weights(options), turn)
    gradients = {
        f"grad_{letter}.{name}": parameter.grad
        for letter, network in (("G", theirs), ("D", critic))
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    return {
        "GAN_loss": given["adversarial"],
        "GAN_Feat_loss": given["reconstruction"],
        "G_cls": given["attribute"],
        "G_flow_loss": given["flow"],
        "G_mask_loss": given["mask"],
        "G_landmark_loss": given["landmark"],
        "D_real": judged["real"],
        "D_fake": judged["fake"],
        "D_cls": judged["attribute"],
        "G_total": total(given),
        "D_total": total(judged),
        **gradients,
        "weights_after.generator": theirs.state_dict(),
        "weights_after.discriminator": critic.state_dict(),
    }


def landmarks(call: Call) -> Results:
    points = read_landmarks(call.files["landmarks"])[call.options["file"]]
    return {"landmarks": normalise_landmarks(points, call.arguments["center"], call.arguments["scale"])}


ADAPTERS = {
    ("geogan", "network", "generator"): generator,
    ("geogan", "network", "discriminator"): discriminator,
    ("geogan", "network", "generator_and_discriminator"): either,
    ("geogan", "function", "losses"): loss,
    ("geogan", "function", "high_resolution_compose"): high_resolution,
    ("geogan", "training_step", "training_step"): training_step,
    ("geogan", "dataset", "landmark_normalisation"): landmarks,
}
