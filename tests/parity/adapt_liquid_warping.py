"""Liquid Warping GAN's networks, losses and steps under the official names of the fixtures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.body.spin_crop import spin_crop
from tests.parity.fixtures import Call, Weights
from trainers.containers import Account
from trainers.liquid_warping import losses
from trainers.liquid_warping.blocks import ResNetInpaintor
from trainers.liquid_warping.discriminators import (
    MultiScaleDiscriminator,
    PartsDiscriminator,
    PatchDiscriminator,
    average,
    cut,
)
from trainers.liquid_warping.face_loss import SIZE, FaceDistance, sphereface_of
from trainers.liquid_warping.generator import LiquidWarpingGenerator
from trainers.liquid_warping.recipe import Losses
from trainers.liquid_warping.spin import SPIN
from trainers.liquid_warping.step import (
    Judges,
    Sample,
    critic_terms,
    generator_terms,
    show,
    total,
)
from trainers.liquid_warping.variants import generator_of
from trainers.liquid_warping.warping import SPADE, SpadeAttention, warped
from trainers.perceptual import TAP_WEIGHTS, VGG19, VGG19_LAYERS, VGGDistance, vgg19_of

Results = Mapping[str, Any]


def filled(network: nn.Module, state: Weights, mode: str | None = "eval") -> Any:
    """With the fixture's weights, whose names have to be ours in our order."""
    assert list(network.state_dict()) == list(state)
    network.load_state_dict(state, strict=True)
    return network.train(mode == "train")


# --- generators ------------------------------------------------------------------------------------


def named_generator(arguments: Mapping[str, Any]) -> nn.Module:
    """Ours of the official configuration."""
    cfg = arguments["cfg"]
    return generator_of(cfg["name"], cfg["BGNet"], cfg["SIDNet"], cfg["TSFNet"])


def _named(state: Weights, network: nn.Module) -> Weights:
    """A file may hold a background network that a variant does without."""
    return {name: value for name, value in state.items() if name in network.state_dict()}


@torch.no_grad()
def generator(call: Call) -> Results:
    assert not call.options.get("only_tsf")
    network = named_generator(call.arguments)
    made = filled(network, _named(call.state(), network), call.mode)
    return _made(made, call)


def _made(made: Any, call: Call) -> Results:
    behind = call.tensor("bg_inputs") if "bg_inputs" in call.inputs else None
    shared = (behind, call.tensor("src_inputs"), call.tensor("tsf_inputs"))
    if not isinstance(made, LiquidWarpingGenerator):
        done = made(*shared)
        return {"bg_img": done.background, "tsf_imgs": done.images, "tsf_masks": done.masks}
    back = call.tensor("Ttt") if call.options.get("temporal") else None
    done = made(*shared, call.tensor("Tst"), back)
    results = {
        "src_imgs": done.source_images,
        "src_masks": done.source_masks,
        "tsf_imgs": done.images,
        "tsf_masks": done.masks,
    }
    return results if done.background is None else {"bg_img": done.background, **results}


@torch.no_grad()
def adain(call: Call) -> Results:
    """The older constructor: the widths named are the background's alone."""
    given = call.arguments
    network = LiquidWarpingGenerator(
        "attention_adain",
        residual_blocks=given["n_res_block"],
        background_widths=given["num_filters"],
        background_inputs=given["bg_dim"],
        source_inputs=given["src_dim"],
        transfer_inputs=given["tsf_dim"],
    )
    return _made(filled(network, call.state(), call.mode), call)


@torch.no_grad()
def attention_block(call: Call) -> Results:
    given = call.arguments
    block: SpadeAttention = filled(
        SpadeAttention(given["channel_q"], given["channel_s"], given["channel"]), call.state()
    )
    x, flow = call.tensor("tsf_x"), call.tensor("Tst")
    sources = call.tensor("src_x").unflatten(0, flow.shape[:2])
    if call.options["temporal"]:
        back = call.tensor("Ttt")
        flow = torch.cat((flow, back), 1)
        sources = torch.cat((sources, call.tensor("temp_x").unflatten(0, back.shape[:2])), 1)
    keys, _ = block.keys_values(sources, flow)
    return {
        "y": block(x, sources, flow),
        "warped": warped(sources, flow).flatten(0, 1),
        "alpha": block.attention(block.fq(x), keys),
    }


@torch.no_grad()
def inpaintor(call: Call) -> Results:
    given = call.arguments
    network = ResNetInpaintor(given["c_dim"], given["num_filters"], given["n_res_block"])
    return {"y": filled(network, call.state())(call.tensor("x"))}


@torch.no_grad()
def spade(call: Call) -> Results:
    given = call.arguments
    network = SPADE(given["config_text"], given["norm_nc"], given["cond_nc"])
    return {"y": filled(network, call.state())(call.tensor("x"), call.tensor("condmap"))}


# --- critics ---------------------------------------------------------------------------------------

PARTS = {
    "global_discriminator": ("global",),
    "global_local_discriminator": ("global", "local"),
    "global_body_head_discriminator": ("global", "body", "head"),
}


def _critic_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "width": given["ndf"],
        "layers": given["n_layers"],
        "widest": given["max_nf_mult"],
        "norm": given["norm_type"],
        "sigmoid": given["use_sigmoid"],
    }


def parts_critic(name: str, arguments: Mapping[str, Any]) -> PartsDiscriminator:
    cfg = arguments["cfg"]
    return PartsDiscriminator(
        PARTS[name],
        arguments["use_aug_bg"],
        inputs=cfg["cond_nc"],
        background_inputs=cfg["bg_cond_nc"],
        **_critic_arguments(cfg),
    )


@torch.no_grad()
def patch_critic(call: Call) -> Results:
    network = PatchDiscriminator(call.arguments["input_nc"], **_critic_arguments(call.arguments))
    return {"y": filled(network, call.state(), call.mode)(call.tensor("input"))}


def judged_by(name: str) -> Callable[[Call], Results]:
    @torch.no_grad()
    def adapter(call: Call) -> Results:
        network = filled(parts_critic(name, call.arguments), call.state(), call.mode)
        behind = call.tensor("bg_x") if "bg_x" in call.inputs else None
        boxes = [call.tensor(box) if box in call.inputs else None for box in ("body_rects", "head_rects")]
        return _scores(network(call.tensor("x"), behind, *boxes))

    return adapter


def _scores(scores: list[Tensor]) -> Results:
    return {**{f"out{place}": score for place, score in enumerate(scores)}, "avg": average(scores)}


@torch.no_grad()
def multi_scale_critic(call: Call) -> Results:
    given = call.arguments
    network = MultiScaleDiscriminator(given["global_nc"], given["input_nc"], **_critic_arguments(given))
    return _scores(filled(network, call.state(), call.mode)(call.tensor("global_x"), call.tensor("local_x")))


# --- losses ----------------------------------------------------------------------------------------


def _vgg19(state: Weights) -> VGG19:
    widths = [state[f"features.{place}.weight"].shape[0] for place in VGG19_LAYERS]
    return vgg19_of(state, VGG19(widths), "the fixture")


def _vgg_loss(call: Call) -> Results:
    assert tuple(call.arguments["vgg"]["weights"]) == TAP_WEIGHTS
    distance: nn.Module = VGGDistance(_vgg19(call.state()))
    if call.options["resize"]:
        distance = losses.Resized(distance)
    return {"loss": distance(call.tensor("x"), call.tensor("y"))}


def _vgg_features(call: Call) -> Results:
    features = _vgg19(call.state())(call.tensor("X"))
    named = {f"feat{place}_mean": feature for place, feature in enumerate(features)}
    return {**named, **{f"feat{place}_shape": feature for place, feature in enumerate(features)}}


def _lsgan(call: Call) -> Results:
    given = call.inputs["x"]
    scores = [torch.from_numpy(one) for one in (given if isinstance(given, list) else [given])]
    return {"loss": losses.least_squares(scores, call.options["y"])}


def _boxes(call: Call) -> Results:
    joints = call.tensor("kps")
    if call.call == "FaceLoss.find_head_rect":
        return {"find_head_rect": losses.head_box(joints, call.options["height"], call.options["width"])}
    side = call.options["image_size"]
    if call.call == "cal_head_bbox_by_kps":
        return {"head_bbox": losses.head_box(joints, side, side)}
    return {"body_bbox": losses.body_box(joints, side, side)}


LOSSES: Mapping[str, Callable[[Call], Results]] = {
    "LSGANLoss": _lsgan,
    "TVLoss": lambda call: {"loss": losses.total_variation(call.tensor("mat"))},
    "TemporalSmoothLoss": lambda call: {"loss": losses.temporal_smoothness(call.tensor("mat"))},
    "BCELoss": lambda call: {"loss": losses.mask_entropy(call.tensor("mask"), call.tensor("gt_mask"))},
    "L1Loss": lambda call: {"loss": losses.absolute(call.tensor("x"), call.tensor("y"))},
    "VGGLoss": _vgg_loss,
    "VGG19 features": _vgg_features,
    "cal_head_bbox_by_kps": _boxes,
    "cal_body_bbox_by_kps": _boxes,
    "FaceLoss.find_head_rect": _boxes,
}


@torch.no_grad()
def loss(call: Call) -> Results:
    return LOSSES[call.call](call)


@torch.no_grad()
def face_loss(call: Call) -> Results:
    assert call.arguments["factor"] == 1.0
    network = sphereface_of(call.state(), "the fixture")
    if call.call == "forward":
        assert torch.equal(call.tensor("bbox1"), call.tensor("bbox2"))
        distance = FaceDistance(network)
        return {"loss": distance(call.tensor("imgs1"), call.tensor("imgs2"), call.tensor("bbox1"))}
    heads = cut(call.tensor("imgs"), call.tensor("bboxs"), SIZE)
    if call.call == "crop_head_bbox":
        return {"crops": heads}
    features = network(heads)
    results = {f"feat{place}": feature for place, feature in enumerate(features)}
    for place, feature in enumerate(features):
        results |= {f"feat{place}_mean": feature, f"feat{place}_absmean": feature}
    return results


# --- SPIN ------------------------------------------------------------------------------------------


def crop_for_spin(call: Call) -> Results:
    """Ours takes RGB, the official one BGR."""
    given = call.inputs["img"]
    crop = spin_crop(np.ascontiguousarray(given[..., ::-1]), tuple(call.inputs["boxes"]))
    return {
        "image": crop.image,
        "scale": crop.scale,
        "start_pt": crop.corner,
        "center": crop.centre,
        "im_shape": np.array(given.shape[:2]),
    }


@torch.no_grad()
def spin(call: Call) -> Results:
    if call.call == "dataset.preprocess":
        return crop_for_spin(call)
    given = call.arguments
    assert given["block"] == "Bottleneck"
    network = SPIN(given["layers"], given["n_iter"])
    account = Account("official", "SPIN")
    network.load_state_dict(account.fit(call.state(), network.state_dict()))
    assert account.whole, account.text()
    body = network.eval()(call.tensor("x"))
    return {"theta": body.theta, "feature": body.feature}


# --- a step ----------------------------------------------------------------------------------------

TERMS = {
    "reconstruction": "g_rec",
    "perceptual": "g_tsf",
    "adversarial": "g_adv",
    "mask": "g_mask",
    "smoothness": "g_smooth",
}


def personalize(call: Call) -> Results:
    given = call.arguments
    assert given["share_bg"]
    assert given["vgg"]["resize"]
    made = filled(named_generator(given["generator"]), call.weights["generator"], call.mode)
    critic = filled(
        parts_critic("global_discriminator", given["discriminator"]), call.weights["discriminator"], call.mode
    )
    judges = Judges(critic, losses.Resized(VGGDistance(_vgg19(call.weights["vgg19"]))), None)
    factors = Losses(
        reconstruction=given["lambda_rec"],
        perceptual_weight=given["lambda_tsf"],
        mask=given["lambda_mask"],
        smoothness=given["lambda_mask_smooth"],
        adversarial=given["lambda_D_prob"],
    )
    sample = Sample(
        backgrounds=call.tensor("bg_inputs"),
        sources=call.tensor("src_inputs"),
        targets=call.tensor("tsf_inputs"),
        flow=call.tensor("Tst"),
        real_sources=call.tensor("real_src"),
        real_targets=call.tensor("real_tsf"),
        real_background=call.tensor("real_bg"),
        masks=call.tensor("body_mask"),
    )
    adam = {name: given["adam"][name] for name in ("lr", "betas", "eps")}
    adam["betas"] = tuple(adam["betas"])
    steps = [torch.optim.Adam(network.parameters(), **adam) for network in (made, critic)]
    results: dict[str, Any] = {}
    for turn in range(given["iterations"]):
        results |= _iteration(turn, made, sample, judges, factors, steps)
    for name, network in (("G", made), ("D", critic)):
        results |= {
            f"after{given['iterations']}.{name}.{key}": value.clone()
            for key, value in network.state_dict().items()
        }
    return results


def _iteration(
    turn: int,
    made: LiquidWarpingGenerator,
    sample: Sample,
    judges: Judges,
    factors: Losses,
    steps: list[torch.optim.Adam],
) -> Results:
    shown = show(made, sample)
    terms = generator_terms(shown, sample, judges, factors)
    assert set(terms) == set(TERMS)
    objective = total(terms)
    steps[0].zero_grad()
    objective.backward(inputs=list(made.parameters()))
    gradients = {key: one.grad.clone() for key, one in made.named_parameters() if one.grad is not None}
    steps[0].step()
    learnt = critic_terms(judges.critic, shown, sample)
    steps[1].zero_grad()
    total(learnt.terms).backward()
    steps[1].step()
    results: dict[str, Any] = {TERMS[name]: term.detach() for name, term in terms.items()}
    results |= {
        "total_G": objective.detach(),
        "total_D": total(learnt.terms).detach(),
        "d_real": learnt.says_of_real,
        "d_fake": learnt.says_of_fake,
        "fake_src": shown.sources.detach(),
        "fake_tsf": shown.targets.detach(),
    }
    for key, gradient in gradients.items():
        results |= {f"grad_G.{key}": gradient, f"gradnorm_G.{key}": gradient.norm()}
    return {f"step{turn}.{name}": value for name, value in results.items()}


FLOWING = (
    "addlwb",
    "avglwb",
    "attlwb_front_spade",
    "attlwb_spade",
    "input_concat",
    "softgate_add",
    "softgate_avg",
    "texture_warping",
)

ADAPTERS: dict[tuple[str, str, str], Callable[[Call], Mapping[str, Any]]] = {
    **{("liquid_warping", "network", name): generator for name in FLOWING},
    **{("liquid_warping", "network", name): judged_by(name) for name in PARTS},
    ("liquid_warping", "network", "attlwb_adain"): adain,
    ("liquid_warping", "network", "attlwb_block"): attention_block,
    ("liquid_warping", "network", "bg_inpaintor"): inpaintor,
    ("liquid_warping", "network", "spade"): spade,
    ("liquid_warping", "network", "patch_discriminator"): patch_critic,
    ("liquid_warping", "network", "multi_scale_discriminator"): multi_scale_critic,
    ("liquid_warping", "network", "spin"): spin,
    ("liquid_warping", "function", "losses"): loss,
    ("liquid_warping", "function", "face_loss"): face_loss,
    ("liquid_warping", "training_step", "personalize_step"): personalize,
}
