"""MaskGAN's label tools and parsing network under the official names of the fixtures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from engine.parsing.classes import CELEBAMASK, Parsing
from engine.parsing.colour import paint, unpaint
from tests.parity.fixtures import Call
from trainers.layouts.celebamask import PARTS, merge_parts
from trainers.maskgan.labels import one_hot
from trainers.maskgan.parser import IGNORED, ParsingUNet, arguments_of, pixel_entropy

Results = Mapping[str, Any]


def _training_labels(call: Call) -> Results:
    """Through everything that labels go through here: the checked type, and one-hot planes back to numbers."""
    labels = Parsing(call.inputs["labels"], CELEBAMASK).of(CELEBAMASK)
    planes = one_hot(torch.from_numpy(labels)[None], call.arguments["n_classes"])
    assert (planes.sum(1) == 1).all()
    return {"labels": planes.argmax(1)[0].to(torch.uint8)}


def _colour(call: Call) -> Results:
    painted = paint(call.inputs["labels"])
    np.testing.assert_array_equal(unpaint(painted), call.inputs["labels"])
    return {"colour": painted}


def _merged(call: Call) -> Results:
    order = call.arguments["part_order"]
    assert order == json.loads(call.files["part_order"].read_text()) == list(PARTS)
    there = zip(order, call.inputs["parts"], call.inputs["present"])
    return {"merged": merge_parts({name: part for name, part, present in there if present})}


TOOLS: dict[str, Callable[[Call], Results]] = {
    "training_labels": _training_labels,
    "palette": lambda call: {"palette": CELEBAMASK.palette},
    "colour": _colour,
    "merge_parts": _merged,
}


def label_tools(call: Call) -> Results:
    return TOOLS[call.name](call)


@torch.no_grad()
def parsing_unet(call: Call) -> Results:
    options = call.arguments
    arguments = arguments_of(call.state())
    assert options["is_deconv"]
    assert arguments == {
        "classes": options["n_classes"],
        "width": 64 // options["feature_scale"],
        "channels": options["in_channels"],
        "norm": options["is_batchnorm"],
    }
    network = ParsingUNet(**arguments)
    assert list(network.state_dict()) == list(call.state())
    network.load_state_dict(call.state())
    logits = network.train(call.mode == "train")(call.tensor("inputs"))
    if "target" not in call.inputs:
        return {"logits": logits, "label": logits.argmax(1)}
    assert call.options["ignore_index"] == IGNORED
    return {"cross_entropy": pixel_entropy(logits, call.tensor("target"))}


ADAPTERS: dict[tuple[str, str, str], Callable[[Call], Results]] = {
    ("maskgan", "function", "label_tools"): label_tools,
    ("maskgan", "network", "parsing_unet"): parsing_unet,
}
