"""STIT's networks and containers under the official names of the fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from tests.parity.fixtures import Call
from trainers.containers import read_plain
from trainers.stit import containers, primitives
from trainers.stit.bisenet import BiSeNet
from trainers.stit.critic import Critic
from trainers.stit.e4e import Encoder4Editing, GradualStyleBlock, upsample_add
from trainers.stit.generator import Generator, widths_of
from trainers.stit.irse import BottleneckIRSE
from trainers.stit.latent_critic import LatentCodesDiscriminator
from trainers.stit.lpips import LPIPS, lpips_of
from trainers.stit.rosinality import RosinalityGenerator

Results = Mapping[str, Any]


def _loaded(build: Callable[[], Any], state: Mapping[str, Tensor]) -> Any:
    """A network that draws no weights of its own first, which takes seconds at full width."""
    with torch.device("meta"):
        network = build()
    network.load_state_dict(dict(state), strict=True, assign=True)
    return network.eval()


# --- primitives ------------------------------------------------------------------------------------


def _resampled(call: Call) -> Tensor:
    options, x = call.options, call.tensor("x")
    if call.call == "rosinality upfirdn2d":
        pad = tuple(options["pad"])
        steps = {"up": options["up"], "down": options["down"]}
        return primitives.upfirdn2d(x, call.tensor("kernel"), padding=(*pad, *pad), **steps)
    kernel = call.tensor("f")
    if call.call == "ada upfirdn2d":
        padding = tuple(options["padding"])
        rest = {name: value for name, value in options.items() if name != "padding"}
        return primitives.upfirdn2d(x, kernel, padding=padding, **rest)
    named = {
        "ada upsample2d": primitives.upsample2d,
        "ada downsample2d": primitives.downsample2d,
        "ada filter2d": primitives.filter2d,
    }
    return named[call.call](x, kernel)


@torch.no_grad()
def primitive(call: Call) -> Results:
    if call.network == "equal_linear":
        return {
            "y": _loaded(lambda: primitives.EqualLinear(**call.arguments), call.state())(call.tensor("input"))
        }
    if call.network:
        layer = _loaded(lambda: primitives.ModulatedConv2d(**call.arguments), call.state())
        return {"y": layer(call.tensor("input"), call.tensor("style"))}
    if call.call == "setup_filter":
        return {"filter": primitives.setup_filter(call.tensor("f"))}
    if call.call == "ada modulated_conv2d":
        arrays = {name: call.tensor(name) for name in call.inputs}
        return {"y": primitives.modulated_conv2d(**arrays, **call.options)}
    return {"y": _resampled(call)}


# --- StyleGAN2 -------------------------------------------------------------------------------------


def _widths(arguments: Mapping[str, Any]) -> tuple[int, ...]:
    stated = arguments.get("synthesis_kwargs", arguments)
    return widths_of(
        arguments["img_resolution"], stated.get("channel_base", 32768), stated.get("channel_max", 512)
    )


def generator_of(arguments: Mapping[str, Any]) -> Generator:
    """Ours of the official constructor's arguments."""
    assert arguments["c_dim"] == 0
    return Generator(
        _widths(arguments),
        z_dim=arguments["z_dim"],
        w_dim=arguments["w_dim"],
        mapping_layers=arguments["mapping_kwargs"]["num_layers"],
        colours=arguments["img_channels"],
        conv_clamp=arguments["synthesis_kwargs"].get("conv_clamp"),
    )


@torch.no_grad()
def generator(call: Call) -> Results:
    made: Generator = _loaded(lambda: generator_of(call.arguments), call.state())
    options = call.options
    if call.call == "mapping":
        psi, cutoff = options.get("truncation_psi", 1.0), options.get("truncation_cutoff")
        return {"ws": made.map(call.tensor("z"), psi, cutoff)}
    if call.call == "w_to_styles":
        styles = made.synthesis.styles(call.tensor("ws"))
        return {f"style_{index:02}": style for index, style in enumerate(styles)}
    made.train(options.get("train_mode", False))
    if options.get("style_input"):
        styles = [torch.from_numpy(array) for array in call.inputs["styles"]]
        return {"image": made.synthesis.from_styles(styles, options["noise_mode"])}
    done = made.synthesis.made(made.synthesis.styles(call.tensor("ws")), options["noise_mode"])
    features = {f"b{size}_features": feature for size, feature in done.features.items()}
    return {"image": done.image, **features}


@torch.no_grad()
def discriminator(call: Call) -> Results:
    arguments = call.arguments

    def build() -> Critic:
        return Critic(
            _widths(arguments),
            colours=arguments["img_channels"],
            conv_clamp=arguments["conv_clamp"],
            group=arguments["epilogue_kwargs"]["mbstd_group_size"],
        )

    return {"logits": _loaded(build, call.state())(call.tensor("img"))}


@torch.no_grad()
def rosinality(call: Call) -> Results:
    made: RosinalityGenerator = _loaded(lambda: RosinalityGenerator(**call.arguments), call.state())
    options = call.options
    if call.call == "style":
        return {"w": made.style(call.tensor("z"))}
    if "w" in call.inputs:
        w = call.tensor("w")
        latents = made.rows([w[0:1], w[1:2]], options["inject_index"])
        second = (latents[0] == w[1]).all(1).numpy()
        return {"image": made(latents).image, "row_is_second": second}
    styles = [torch.from_numpy(array) for array in call.inputs["styles"]]
    if not options.get("input_is_latent"):
        styles = [made.style(z) for z in styles]
    pull = call.tensor("truncation_latent") if "truncation_latent" in call.inputs else None
    done = made(made.rows(styles, truncation=options.get("truncation", 1.0), truncation_latent=pull))
    return {"image": done.image, "latent": done.latents}


# --- inversion and parsing -------------------------------------------------------------------------


@torch.no_grad()
def blocks(call: Call) -> Results:
    if call.call == "_upsample_add":
        return {"y": upsample_add(call.tensor("x"), call.tensor("y"))}
    block = GradualStyleBlock if "spatial" in call.arguments else BottleneckIRSE
    return {"y": _loaded(lambda: block(**call.arguments), call.state())(call.tensor("x"))}


def _part(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(name): value for key, value in state.items() if key.startswith(name)}


class _Encoded:
    """The last encoder's rows: a fixture asks in several cases for those of one picture and one set of weights, and
    they are most of its time."""

    def __init__(self) -> None:
        self.last: tuple[Mapping[str, Tensor], Tensor, Tensor] | None = None

    def rows(self, state: Mapping[str, Tensor], x: Tensor, count: int, width: int) -> Tensor:
        if self.last is None or not self._is(self.last[0], state) or not torch.equal(self.last[1], x):
            network: Encoder4Editing = _loaded(
                lambda: Encoder4Editing(count, width), _part(state, "encoder.")
            )
            self.last = dict(state), x, network(x)
        return self.last[2]

    @staticmethod
    def _is(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
        return one.keys() == other.keys() and all(one[name] is other[name] for name in one)


ENCODED = _Encoded()


@torch.no_grad()
def encoder(call: Call) -> Results:
    """pSp: the encoder with the mean latent, and the decoder, which only looks."""
    arguments, state, options = call.arguments, call.state(), call.options
    decoder: RosinalityGenerator = _loaded(
        lambda: RosinalityGenerator(**arguments["decoder"]), _part(state, "decoder.")
    )
    out = ENCODED.rows(state, call.tensor("x"), decoder.n_latent, arguments["decoder"]["style_dim"])
    if call.call == "encoder":
        return {"encoder_out": out}
    codes = out + call.tensor("latent_avg")
    image = decoder(codes).image
    if options["resize"]:
        image = torch.nn.functional.adaptive_avg_pool2d(image, (256, 256))
    return {"codes": codes, "image": image}


@torch.no_grad()
def latent_critic(call: Call) -> Results:
    return {
        "logits": _loaded(lambda: LatentCodesDiscriminator(**call.arguments), call.state())(call.tensor("w"))
    }


@torch.no_grad()
def bisenet(call: Call) -> Results:
    done = _loaded(lambda: BiSeNet(**call.arguments), call.state()).all_heads(call.tensor("x"))
    return {
        "out": done.main,
        "out16": done.sixteenth,
        "out32": done.thirtysecond,
        "label": done.main.argmax(1),
    }


# --- files -----------------------------------------------------------------------------------------


@torch.no_grad()
def pickle_container(call: Call) -> Results:
    """The file itself, by our reader; its embedded text is nowhere executed."""
    path = call.files["weights"]
    if call.name == "tuned_run":
        tuned = containers.read_tuned(path)
        return {"pivots": tuned.pivots, "quads": tuned.quads}
    cleaned = containers.read_generator(path)
    expected = generator_of(call.arguments)
    made: Generator = cleaned.build()
    assert list(made.state_dict()) == list(expected.state_dict())
    if call.name == "state_dict":
        return {"state_dict": made.state_dict()}
    return {"image_const": made.synthesis(made.map(call.tensor("z")), call.options["noise_mode"])}


def _misplaced(weights: Mapping[str, Tensor], theirs: list[str]) -> Iterator[str]:
    """Tensors without the constant of a layout's file: its rank among the file's sorted names."""
    rank = {name: place for place, name in enumerate(sorted(theirs), 1)}
    assert set(weights) == set(theirs)
    for name, value in weights.items():
        if not (value == rank[name]).all():
            yield f"{name}: {value.flatten()[0].item()}, expected {rank[name]}"


@torch.no_grad()
def layout(call: Call) -> Results:
    """Each file strictly into the network that its shapes give, which is the one that is named."""
    wrong: dict[str, str] = {}
    assert set(call.weights) == set(LAYOUTS)
    for name, opened in LAYOUTS.items():
        built, theirs = opened(call)
        assert set(theirs) == set(call.weights[name])
        wrong |= {f"{name} {index}": text for index, text in enumerate(_misplaced(built, theirs))}
    return wrong


def _whole_encoder(call: Call) -> tuple[dict[str, Tensor], list[str]]:
    stored = read_plain(call.files["weights of e4e_encoder"])
    opened = containers.clean_encoder(stored["state_dict"], stored["latent_avg"], stored["opts"])
    named = call.arguments["e4e_encoder"]["decoder"]
    assert {name: opened.decoder.arguments[name] for name in named} == named
    both = dict(opened.encoder.build().state_dict())
    latent = both.pop("latent_avg")
    assert torch.equal(latent, torch.arange(len(latent)).float()[:, None].expand_as(latent))
    both |= {f"decoder.{name}": value for name, value in opened.decoder.build().state_dict().items()}
    return both, list(stored["state_dict"])


def _whole_parser(call: Call) -> tuple[dict[str, Tensor], list[str]]:
    cleaned = containers.clean_parser(call.weights["bisenet"])
    assert cleaned.arguments["n_classes"] == call.arguments["bisenet"]["n_classes"]
    return dict(cleaned.build().state_dict()), list(call.weights["bisenet"])


def _whole_generator(call: Call) -> tuple[dict[str, Tensor], list[str]]:
    stored = call.weights["stylegan2_ada_generator"]
    cleaned = containers.clean(stored)
    assert tuple(cleaned.arguments["widths"]) == _widths(call.arguments["stylegan2_ada_generator"])
    return dict(cleaned.build().state_dict()), list(stored)


def _heads(call: Call) -> tuple[dict[str, Tensor], list[str]]:
    """The five heads alone; AlexNet's part, which another file holds, is any."""
    stored = call.weights["lpips_heads"]
    some = LPIPS()
    made = lpips_of({**some.state_dict(), **stored}, some, "heads").state_dict()
    return {name: value for name, value in made.items() if name.startswith("lin")}, list(stored)


LAYOUTS: Mapping[str, Callable[[Call], tuple[dict[str, Tensor], list[str]]]] = {
    "e4e_encoder": _whole_encoder,
    "bisenet": _whole_parser,
    "stylegan2_ada_generator": _whole_generator,
    "lpips_heads": _heads,
}


ADAPTERS: dict[tuple[str, str, str], Callable[[Call], Mapping[str, Any]]] = {
    ("stit", "function", "stylegan2_primitives"): primitive,
    ("stit", "network", "stylegan2_ada_generator"): generator,
    ("stit", "network", "stylegan2_ada_discriminator"): discriminator,
    ("stit", "network", "stylegan2_rosinality_generator"): rosinality,
    ("stit", "network", "e4e_blocks"): blocks,
    ("stit", "network", "e4e_encoder"): encoder,
    ("stit", "network", "latent_codes_discriminator"): latent_critic,
    ("stit", "network", "bisenet"): bisenet,
    ("stit", "container", "stylegan2_ada_pickle"): pickle_container,
    ("stit", "container", "full_size_layout"): layout,
}
