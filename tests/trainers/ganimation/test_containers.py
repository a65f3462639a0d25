"""Weights of the official code and of two replications, under the official names, with an account."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from trainers.errors import CheckpointError
from trainers.ganimation.containers import clean
from trainers.ganimation.networks import Discriminator, Generator

State = dict[str, Tensor]


def same(cleaned: State, network: torch.nn.Module) -> bool:
    return all(torch.equal(cleaned[name], value) for name, value in network.state_dict().items())


def vipermu(network: Generator) -> State:
    """As that code saves it: other heads, the trunk once more under four names."""
    state = {}
    for name, value in network.state_dict().items():
        new = name.replace("img_reg", "im_reg").replace("attetion_reg", "im_att")
        state[new] = value
        if new.startswith("main."):
            state |= {new.replace("main.", f"debug{k}.", 1): value for k in (1, 2, 3, 4)}
    return state


def donydchen(network: Generator, *, dropout: bool) -> State:
    """As that code saves it: `model`, `conv_block`, where a dropout shifts the second convolution by one."""
    state = {}
    for name, value in network.state_dict().items():
        new = re.sub(r"^main\.(\d+)\.main\.0\.", r"model.\1.conv_block.0.", name)
        new = re.sub(r"^main\.(\d+)\.main\.3\.", rf"model.\1.conv_block.{4 if dropout else 3}.", new)
        new = re.sub(r"^main\.", "model.", new).replace("img_reg", "color_top")
        state[new.replace("attetion_reg", "au_top")] = value
    return state


def test_arguments_follow_from_shapes() -> None:
    """Whatever the widths: of the generator, and of the critic with its image size."""
    generator, critic = Generator(6, 9, 3), Discriminator(96, 5, 9, 4)
    cleaned = clean(generator.state_dict())
    assert cleaned.arguments == {"conv_dim": 6, "c_dim": 9, "repeat_num": 3, "norm": "instance"}
    assert same(cleaned.weights, generator)
    cleaned = clean(critic.state_dict())
    assert cleaned.arguments == {"image_size": 96, "conv_dim": 5, "c_dim": 9, "repeat_num": 4}
    assert same(cleaned.build().state_dict(), critic)


def test_old_statistics_are_dropped_and_never_switched_on() -> None:
    """torch 0.3.1 wrote them; the network has always used the picture's own."""
    generator = Generator(4, 17, 1)
    old = {f"module.{name}": value for name, value in generator.state_dict().items()}
    old |= {f"module.main.{k}.running_{what}": torch.rand(4) for k in (1, 4) for what in ("mean", "var")}
    cleaned = clean(old)
    assert cleaned.arguments["norm"] == "instance"
    assert same(cleaned.weights, generator)
    assert set(cleaned.account.dropped) == {
        f"main.{k}.running_{what}" for k in (1, 4) for what in ("mean", "var")
    }
    assert "module.main.0.weight" in cleaned.account.renamed
    assert "4 dropped" in cleaned.account.summary()
    assert "main.1.running_mean: running statistics" in cleaned.account.text()


def test_vipermu_s_statistics_are_used() -> None:
    """There eval mode reads them, so they stay, as a norm of its own; the trunk's other names go."""
    generator = Generator(4, 17, 1, "instance_running")
    for _ in range(3):
        generator(torch.randn(2, 3, 16, 16), torch.rand(2, 17))
    cleaned = clean(vipermu(generator))
    assert cleaned.arguments["norm"] == "instance_running"
    assert cleaned.account.origin == "vipermu"
    x, c = torch.rand(1, 3, 16, 16), torch.rand(1, 17)
    with torch.no_grad():
        assert torch.equal(cleaned.build()(x, c)[0], generator.eval()(x, c)[0])
    assert sum("debug" in name for name in cleaned.account.dropped) > 20


@pytest.mark.parametrize("dropout", [False, True])
def test_donydchen_s_names_become_official(dropout: bool) -> None:
    """Norms without parameters, convolutions with bias, a second convolution at 3 or 4."""
    generator = Generator(4, 17, 2, "instance_plain")
    cleaned = clean(donydchen(generator, dropout=dropout))
    assert cleaned.arguments == {"conv_dim": 4, "c_dim": 17, "repeat_num": 2, "norm": "instance_plain"}
    assert same(cleaned.build().state_dict(), generator)


def test_donydchen_s_critic_is_the_official_one() -> None:
    """By other names."""
    critic = Discriminator(32, 4, 17, 3)
    names = {"main.": "model.", "conv1.": "dis_top.", "conv2.": "aus_top."}
    other = {
        next(new + name[len(old) :] for old, new in names.items() if name.startswith(old)): value
        for name, value in critic.state_dict().items()
    }
    assert same(clean(other).weights, critic)


def test_a_file_that_lacks_a_key_is_refused_by_name() -> None:
    """Nothing is filled in."""
    state = dict(Generator(4, 17, 2).state_dict())
    del state["main.9.main.0.weight"]
    with pytest.raises(CheckpointError, match=r"main\.9\.main\.0\.weight is missing"):
        clean(state)


def test_a_key_too_many_or_of_another_shape_is_refused() -> None:
    """Another network of the same names is not half loaded."""
    state = dict(Generator(4, 17, 1).state_dict())
    with pytest.raises(CheckpointError, match=r"extra\.weight is unexpected"):
        clean(state | {"extra.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"img_reg\.0\.weight: \(3, 5, 7, 7\), expected \(3, 4, 7, 7\)"):
        clean(state | {"img_reg.0.weight": torch.zeros(3, 5, 7, 7)})
    with pytest.raises(CheckpointError, match="not finite"):
        clean(state | {"img_reg.0.weight": torch.full((3, 4, 7, 7), torch.nan)})


def test_another_system_s_file_is_said_to_be_none() -> None:
    """With what was looked for and what there is."""
    with pytest.raises(CheckpointError, match=r"no GANimation network: .*flow_head"):
        clean({"flow_head.layers.1.weight": torch.zeros(4, 3, 7, 7)})


def test_half_precision_is_widened() -> None:
    """Weights are float32 from here on."""
    cleaned = clean({name: value.half() for name, value in Generator(4, 17, 1).state_dict().items()})
    assert {value.dtype for value in cleaned.weights.values()} == {torch.float32}
