"""MaskGAN's networks, losses and containers under the official names of the fixtures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity.fixtures import Call, Weights
from trainers.maskgan.containers import clean
from trainers.maskgan.interpolation import between
from trainers.maskgan.labels import one_hot
from trainers.maskgan.mask_vae import divergence, reparameterised
from trainers.maskgan.recipe import Losses
from trainers.maskgan.step import Pair, critic_terms, generator_terms, made, total
from trainers.perceptual import VGG19, VGG19_LAYERS, VGGDistance, vgg19_of

Results = Mapping[str, Any]

OFFICIAL = {
    "generator": {
        "input_nc": "classes",
        "ngf": "width",
        "n_downsampling": "downsamples",
        "n_blocks": "blocks",
    },
    "blender": {"ngf": "width", "n_downsampling": "downsamples", "n_blocks": "blocks"},
    "critic": {"input_nc": "inputs", "ndf": "width", "n_layers": "layers", "num_D": "scales"},
    "mask_vae": {
        "nc": "classes",
        "ndf": "width",
        "ngf": "decoder_width",
        "latent_variable_size": "latent",
    },
    "parser": {"n_classes": "classes", "in_channels": "channels", "is_batchnorm": "norm"},
}
"""Official argument to ours, by our network."""
FIXED = {
    "input_nc": 6,
    "output_nc": 3,
    "norm_layer": {"class": "InstanceNorm2d", "affine": False},
    "padding_type": "reflect",
    "use_sigmoid": False,
    "getIntermFeat": True,
    "is_deconv": True,
}
"""What ours cannot be otherwise."""
OURS = {
    "generator": "generator",
    "alpha_blender": "blender",
    "discriminator": "critic",
    "mask_vae": "mask_vae",
    "parsing_unet": "parser",
}


def network(state: Weights, arguments: Mapping[str, Any], kind: str, mode: str | None = "eval") -> Any:
    """The network that the container's shapes give, which must be the one that the fixture names."""
    cleaned = clean(state)
    assert cleaned.account.network == kind
    for theirs, given in arguments.items():
        if theirs == "feature_scale":
            assert cleaned.arguments["width"] == 64 // given
        elif theirs in OFFICIAL[kind]:
            assert cleaned.arguments[OFFICIAL[kind][theirs]] == given, theirs
        else:
            assert given == FIXED[theirs], theirs
    built = cleaned.build()
    assert list(built.state_dict()) == [name for name in state if name not in cleaned.account.dropped]
    return built.train(mode == "train")


@torch.no_grad()
def generator(call: Call) -> Results:
    made = network(call.state(), call.arguments, "generator", call.mode)
    if call.call == "enc_label":
        first, second = made.enc_label(call.tensor("input_ref"))
        return {"label_feat1": first, "label_feat2": second}
    reference, image = call.tensor("input_ref"), call.tensor("image_ref")
    if call.call == "enc_style":
        numbers = made.enc_style(image, *made.enc_label(reference))
        alone = [
            made.enc_style(image[k : k + 1], *made.enc_label(reference[k : k + 1])) for k in range(len(image))
        ]
        assert torch.allclose(torch.cat(alone), numbers, atol=1e-5)
        return {"adain_params": numbers}
    return {"image": made(call.tensor("input"), reference, image)}


@torch.no_grad()
def alpha_blender(call: Call) -> Results:
    made = network(call.state(), call.arguments, "blender", call.mode)
    blended, alpha = made(call.tensor("input1"), call.tensor("input2"))
    return {"blended": blended, "alpha": alpha}


@torch.no_grad()
def discriminator(call: Call) -> Results:
    made = network(call.state(), call.arguments, "critic", call.mode)
    judged = made(torch.cat((call.tensor("mask"), call.tensor("image")), 1))
    return {
        f"out{scale}_feat{place}": feature
        for scale, features in enumerate(judged)
        for place, feature in enumerate(features)
    }


@torch.no_grad()
def mask_vae(call: Call) -> Results:
    vae = network(call.state(), call.arguments, "mask_vae", call.mode)
    if call.call == "encode":
        mean, log_variance = vae.encode(call.tensor("x"))
        return {"mu": mean, "logvar": log_variance}
    if "eps" in call.inputs:
        logits, mean, log_variance, z = vae(call.tensor("x"), call.tensor("eps"))
        assert torch.equal(z, reparameterised(mean, log_variance, call.tensor("eps")))
        return {"z": z, "logits": logits, "kl": divergence(mean, log_variance)}
    return interpolated(call, vae)


def interpolated(call: Call, vae: Any) -> Results:
    """Inner and outer masks, on the means."""
    target, _ = vae.encode(call.tensor("mask_t"))
    reference, _ = vae.encode(call.tensor("mask_ref"))
    z = between(target, reference, sign=call.name, strength=float(call.inputs["lambda"]))
    logits = vae.decode(z)
    best = logits.topk(2, dim=1).values
    return {"z": z, "logits": logits, "label": logits.argmax(1), "top2_gap": best[:, 0] - best[:, 1]}


def vgg19(state: Weights) -> VGG19:
    widths = [state[f"features.{place}.weight"].shape[0] for place in VGG19_LAYERS]
    return vgg19_of(state, VGG19(widths), "the fixture")


def stage_two(call: Call) -> Results:
    if call.network == "vgg19":
        maps = vgg19(call.state())(call.tensor("image_t"))
        return {f"relu{k}_1": one for k, one in enumerate(maps, 1)}
    given = call.arguments
    networks: dict[str, nn.Module] = {
        OURS[name]: network(call.weights[name], given[name], OURS[name], call.mode)
        for name in ("generator", "alpha_blender", "discriminator")
    }
    assert (given["no_lsgan"], given["pool_size"]) == (False, 0)
    distance = VGGDistance(vgg19(call.weights["vgg19"]))
    assert tuple(given["vgg_weights"]) == distance.weights
    weights = Losses(features=given["lambda_feat"], perceptual_weight=given["lambda_feat"])
    classes = given["generator"]["input_nc"]
    layouts = {name: one_hot(call.tensor(name), classes) for name in ("mask_t", "mask_inter", "mask_outer")}
    pair = Pair(layouts["mask_t"], call.tensor("image_t"), layouts["mask_inter"], layouts["mask_outer"])
    pictures = made(networks["generator"], networks["blender"], pair)
    ours = generator_terms(networks["critic"], pair, pictures, distance, weights)
    theirs = critic_terms(networks["critic"], pair, pictures)
    parameters = {name: list(networks[name].parameters()) for name in ("generator", "blender")}
    gradients = torch.autograd.grad(total(ours), [*parameters["generator"], *parameters["blender"]])
    split = len(parameters["generator"])
    return {
        "G_GAN": ours["adversarial"],
        "G_GAN_Feat": ours["features"],
        "G_VGG": ours["perceptual"],
        "GB_GAN": ours["blend_adversarial"],
        "GB_GAN_Feat": ours["blend_features"],
        "GB_VGG": ours["blend_perceptual"],
        "D_real": theirs["real"],
        "D_fake": theirs["fake"],
        "D_blend": theirs["blend"],
        "image_rec": pictures.reconstructed,
        "image_inter": pictures.inner,
        "image_outer": pictures.outer,
        "image_blend": pictures.blended,
        "alpha": pictures.alpha,
        "gradnorm_G_of_sum_first6": norm(gradients[:split]),
        "gradnorm_B_of_sum_first6": norm(gradients[split:]),
    }


def layout(call: Call) -> Results:
    """Every tensor of every file at its place: constant, its rank among the names as plain strings."""
    wrong = {}
    for name in call.weights:
        stored = call.weights[name]
        whole = {key: value.contiguous() for key, value in stored.items()}
        made = network(whole, call.arguments[name], OURS[name])
        for key, value in made.state_dict().items():
            if not value.min() == value.max() == 1 + sorted(whole).index(key):
                wrong[f"{name}.{key}"] = f"{name}: {key} holds another tensor's values"
    return wrong


def norm(gradients: tuple[Tensor, ...]) -> Tensor:
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(one) for one in gradients]))


ADAPTERS: dict[tuple[str, str, str], Callable[[Call], Results]] = {
    ("maskgan", "network", "dense_mapping_network"): generator,
    ("maskgan", "network", "alpha_blender"): alpha_blender,
    ("maskgan", "network", "discriminator"): discriminator,
    ("maskgan", "network", "mask_vae"): mask_vae,
    ("maskgan", "training_step", "stage_two_losses"): stage_two,
    ("maskgan", "container", "full_size_layout"): layout,
}
