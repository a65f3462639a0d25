"""STIT's alignment, edits, masks, losses and tuning steps under the official names of the fixtures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.align import cutting, feathered, inverse_coefficients, smoothed, squares_of
from engine.align import masks as engine_masks
from tests.parity.fixtures import Array, Call
from trainers.stit import edits, masks, pivotal, stitching
from trainers.stit.generator import Generator, widths_of
from trainers.stit.lpips import LPIPS, PLACES, lpips_of

Results = Mapping[str, Any]


def _transform(call: Call) -> Results:
    squares = squares_of(call.inputs["landmarks"], call.options["scale"])
    return {"c": squares.centre, "x": squares.along, "y": squares.down, "quads_raw": squares.quads()}


def _smoothed(call: Call) -> Results:
    squares = squares_of(call.inputs["landmarks"], call.options["scale"])
    return {"quads": smoothed(squares, call.options["center_sigma"], call.options["xy_sigma"]).quads()}


def _frame(call: Call, number: int) -> Array:
    return call.inputs["frames"][list(call.inputs["frames_index"]).index(number)]


def _cropped(call: Call) -> Results:
    assert not call.options["enable_padding"]
    size, quads = call.options["output_size"], call.inputs["quads"]
    if "frame" in call.options:
        number = call.options["frame"]
        return {"crop": cutting.cut_quad(_frame(call, number), quads[number], size)}
    kept = call.inputs["frames_kept"]
    return {
        "crops": np.stack([cutting.cut_quad(_frame(call, number), quads[number], size) for number in kept])
    }


def _coefficients(call: Call) -> Results:
    size = call.options["target"][2][0]
    assert call.options["target"] == [[0, 0], [0, size], [size, size], [size, 0]]
    return {"coefficients": np.stack([inverse_coefficients(quad, size) for quad in call.inputs["quads"]])}


def _pasted(call: Call) -> Results:
    mask = call.inputs.get("paste_mask")
    if mask is not None:
        mask = feathered(mask, call.options["radius"], call.options.get("sigma", 0.0))
    pasted = []
    for crop, number in zip(call.inputs["edited_crops"], call.inputs["frames_kept"], strict=True):
        rgb = cutting.paste_by(_frame(call, number), crop, call.inputs["inverse_transform"][number], mask)
        pasted.append(np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]))
    return {"images": np.stack(pasted)}


ALIGNMENT = {
    "compute_transform": _transform,
    "crop_faces": _smoothed,
    "crop_image": _cropped,
    "calc_alignment_coefficients": _coefficients,
    "paste_image": _pasted,
    "paste_image_mask": _pasted,
}


def alignment(call: Call) -> Results:
    return ALIGNMENT[call.call](call)


def _named(found: masks.StitchingMasks) -> dict[str, Tensor]:
    return {"content": found.content, "border": found.border, "full": found.full}


def _created(call: Call) -> Results:
    options = call.options
    pixels = {
        "border": options["border_pixels"],
        "inner": options["inner_dilation"],
        "outer": options["outer_dilation"],
        "whole_image": options["whole_image_border"],
    }
    found = masks.stitching_masks(call.tensor("mask").float(), **pixels)
    live = engine_masks.stitching_masks(call.inputs["mask"][0, 0], **pixels)
    for name, mask in _named(found).items():
        assert np.array_equal(getattr(live, name), mask[0, 0].numpy()), f"the engine's {name} is another"
    return _named(found)


def _calculated(call: Call) -> Results:
    options = call.options
    found = masks.masks_of_labels(
        call.tensor("segmentation")[None],
        border=options["border_pixels"],
        inner=options["inner_mask_dilation"],
        outer=options["outer_mask_dilation"],
        whole_image=options["whole_image_border"],
        background=options["foreground_excludes"],
    )
    named = _named(found)
    return {**named, **{f"{name}_sum": mask for name, mask in named.items()}}


def _masked(call: Call) -> Results:
    norm = "l2" if call.options["loss_l2"] else "l1"
    generated = call.tensor("generated")
    border = masks.masked_error(
        generated, call.tensor("border_target"), call.tensor("border_mask").float(), norm
    )
    content = masks.masked_error(
        generated, call.tensor("content_target"), call.tensor("content_mask").float(), norm
    )
    return {
        "border": border,
        "content": content,
        "total": border + call.options["content_loss_lambda"] * content,
    }


MASKS = {"create_masks": _created, "calc_masks": _calculated, "masked_l2": _masked}


def masks_and_losses(call: Call) -> Results:
    return MASKS[call.call](call)


def _generator(call: Call, weights: Mapping[str, Tensor]) -> Generator:
    """The fixture's generator, in its mode."""
    given = call.arguments.get("generator", call.arguments)
    kwargs = given["synthesis_kwargs"]
    assert given["c_dim"] == 0
    assert kwargs["num_fp16_res"] == 0
    widths = widths_of(given["img_resolution"], kwargs["channel_base"], kwargs["channel_max"])
    network = Generator(
        widths,
        given["z_dim"],
        given["w_dim"],
        given["mapping_kwargs"]["num_layers"],
        given["img_channels"],
        kwargs["conv_clamp"],
    )
    network.load_state_dict(dict(weights))
    return network.train(call.mode == "train")


def _interfacegan(call: Call) -> Results:
    factors = edits.strengths(*call.options["edit_range"])
    direction = {"it": call.inputs["direction"][0]}
    ws = call.tensor("pivots")
    return {
        "factors": factors,
        "edited": torch.stack([edits.moved(ws, direction, {"it": factor}) for factor in factors]),
    }


def _global_direction(call: Call) -> Results:
    neutral, target = call.tensor("class_weights").T
    direction = edits.text_direction(neutral, target)
    found = edits.global_direction(call.tensor("stylespace_di"), direction, call.options["beta"])
    return {"global_direction": found}


@torch.no_grad()
def _style_edit(call: Call) -> Results:
    synthesis = _generator(call, call.state()).synthesis
    factors = edits.strengths(*call.options["edit_range"])
    offsets = edits.style_offsets(synthesis, call.tensor("global_direction"))
    ws = call.tensor("pivots_small")[:1]
    made = [synthesis.from_styles(edits.styled(synthesis, ws, offsets, factor)) for factor in factors]
    return {"factors": factors, "images": torch.cat(made)}


def _frozen(call: Call) -> Results:
    return {"frozen": edits.frozen(call.tensor("pivots"), call.options["freeze_fine_layers"])}


EDITS = {
    "get_interfacegan_edits": _interfacegan,
    "get_direction": _global_direction,
    "get_styleclip_global_edits": _style_edit,
    "forward": _frozen,
}


def latent_edits(call: Call) -> Results:
    return EDITS[call.call](call)


@dataclass(frozen=True)
class _Tuned:
    """PTI as the fixture asks for it, before and after its passes."""

    generator: Generator
    original: Generator
    distance: LPIPS
    options: pivotal.Pivotal
    ws: Tensor
    crops: Tensor

    def losses(self) -> tuple[Tensor, Tensor, Tensor]:
        """Per frame the loss, its perceptual part, and the picture."""
        images, losses, distances = [], [], []
        for w, crop in zip(self.ws.split(1), self.crops.split(1)):
            with torch.no_grad():
                images.append(self.generator.synthesis(w))
            terms = pivotal.pivot_terms(images[-1], crop, self.distance, self.options)
            losses.append(torch.stack(list(terms.values())).sum())
            distances.append(terms["perceptual"] / self.options.perceptual_weight)
        return torch.stack(losses), torch.stack(distances), torch.cat(images)

    def tune(self) -> None:
        optimiser = pivotal.optimiser(self.generator, self.options)
        for _ in range(self.options.passes):
            for w, crop in zip(self.ws.split(1), self.crops.split(1)):
                image = self.generator.synthesis(w)
                pivotal.step(optimiser, pivotal.pivot_terms(image, crop, self.distance, self.options))


def _tuned(call: Call) -> _Tuned:
    given, adam = call.arguments, call.arguments["adam"]
    assert adam["eps"] == torch.optim.Adam([torch.zeros(1)]).defaults["eps"]
    assert adam["lr"] == given["pti_learning_rate"]
    of_distance = call.weights["lpips_alex"]
    widths = [of_distance[f"features.{place}.weight"].shape[0] for place in PLACES]
    found = given["locality"]
    options = pivotal.Pivotal(
        passes=given["max_pti_steps"],
        learning_rate=adam["lr"],
        betas=tuple(adam["betas"]),
        l2=given["pt_l2_lambda"],
        perceptual_weight=given["pt_lpips_lambda"],
        locality=pivotal.Locality(
            1, found["alpha"], found["truncation_psi"], found["l2_lambda"], found["lpips_lambda"]
        ),
    )
    assert found["noise_mode"] == "none"
    return _Tuned(
        _generator(call, call.weights["generator"]),
        _generator(call, call.weights["generator"]),
        lpips_of(of_distance, LPIPS(widths), "the fixture"),
        options,
        call.tensor("pivots"),
        torch.from_numpy(call.stored["targets"]),
    )


def pti(call: Call) -> Results:
    tuned = _tuned(call)
    if call.name == "before":
        losses, distances, _ = tuned.losses()
        return {"loss": losses, "lpips": distances}
    tuned.tune()
    if call.name == "after_tuning":
        losses, _, images = tuned.losses()
        return {"loss": losses, "images": images}
    z = call.tensor("locality_z").float()
    pivot = tuned.ws[:1]
    terms = pivotal.locality_terms(
        tuned.generator, tuned.original, pivot, z, tuned.distance, tuned.options.locality
    )
    with torch.no_grad():
        sample = tuned.generator.map(z, tuned.options.locality.psi)
        far = pivotal.away_from(pivot, sample, tuned.options.locality.radius)
    return {"w_sample": sample, "w_morphed": far, "loss": torch.stack(list(terms.values())).sum()}


def stitching_tuning(call: Call) -> Results:
    given, adam = call.arguments, call.arguments["adam"]
    assert given["optimize_generator"]
    assert tuple(adam["betas"]) == torch.optim.Adam([torch.zeros(1)]).defaults["betas"]
    options = stitching.Stitching(
        given["num_steps"],
        adam["lr"],
        given["content_loss_lambda"],
        "l2" if call.options["loss_l2"] else "l1",
    )
    found = masks.StitchingMasks(
        call.tensor("content_mask").float(), call.tensor("border_mask").float(), torch.empty(0)
    )
    images = [call.tensor(name) for name in ("w", "border_image", "content_image")]
    done = stitching.stitch(_generator(call, call.state()), *images, found, options)
    return {"image": done.image, "border_loss_before": done.before, "border_loss_after": done.after}


ADAPTERS: dict[tuple[str, str, str], Callable[[Call], Results]] = {
    ("stit", "function", "alignment"): alignment,
    ("stit", "function", "latent_edits"): latent_edits,
    ("stit", "training_step", "pti_tuning"): pti,
    ("stit", "training_step", "stitching_tuning"): stitching_tuning,
    ("stit", "function", "stitching_masks_and_losses"): masks_and_losses,
}
