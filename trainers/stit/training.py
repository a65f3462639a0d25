"""STIT's networks as a system that is trained: StyleGAN2 first, then e4e through what came of it.

`generator` is the moving average: it is what the encoder is trained through, what is exported and what is tuned to a
person. `trained` is what the optimiser steps; nothing else needs it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from trainers.errors import RecipeError
from trainers.stit import lpips
from trainers.stit.critic import Critic
from trainers.stit.e4e import Inversion, resized
from trainers.stit.e4e_training import ENCODER, LATENT_CRITIC, Encoding, decibels, e4e_step
from trainers.stit.gan_training import CRITIC, GAN, GENERATOR, codes, gan_step, lazy
from trainers.stit.generator import Generator
from trainers.stit.identity import read_arcface, start_backbone
from trainers.stit.latent_critic import LatentCodesDiscriminator
from trainers.stit.portraits import Opened, Portraits, open_portraits
from trainers.stit.recipe import E4E, STITRecipe
from trainers.stit.recipe import GAN as GAN_STAGE
from trainers.system import Batch, CarryOn, Pictures, Scalars, Split, Stage, System, Turn, Verdict

TRAINED = "trained"
_ADA_EVERY = 4
_SHOWN_PSI = (0.0, 0.7, 1.0)


class STIT(System):
    """Networks: "generator" and "trained" (Generator), "critic" (Critic), and where a stage trains it "encoder"
    (Inversion) and "latent_critic" (LatentCodesDiscriminator)."""

    name: ClassVar[str] = "stit"
    Recipe: ClassVar[type] = STITRecipe

    def __init__(self, recipe: STITRecipe) -> None:
        self.recipe = recipe
        self.arguments: dict[str, dict[str, Any]] = {}
        stages = {stage.name for stage in recipe.stages}
        clamp = recipe.adversarial.clamp or None
        shape = recipe.generator
        self.arguments[GENERATOR] = {
            "widths": list(recipe.widths()),
            "z_dim": shape.latent,
            "w_dim": shape.latent,
            "mapping_layers": shape.mapping_layers,
            "conv_clamp": clamp,
        }
        self.generator = Generator(**self.arguments[GENERATOR]).requires_grad_(False)
        self.networks: dict[str, nn.Module] = {GENERATOR: self.generator}
        self._encoding: Encoding | None = None
        self._gan: GAN | None = None
        if GAN_STAGE in stages:
            self._make_gan(clamp)
        if E4E in stages:
            self._make_encoding()
        self._opened: Opened | None = None
        self._p = recipe.augmentation.start
        self._signs: list[float] = []

    def _make_gan(self, clamp: float | None) -> None:
        how = self.recipe.adversarial
        self.arguments[TRAINED] = self.arguments[GENERATOR]
        self.arguments[CRITIC] = {
            "widths": list(self.recipe.widths()),
            "conv_clamp": clamp,
            "group": how.group,
        }
        trained = copy.deepcopy(self.generator).requires_grad_(True)
        critic = Critic(**self.arguments[CRITIC])
        for network in (trained, critic):
            # a quarter less time of a step on a CPU
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.networks |= {TRAINED: trained, CRITIC: critic}
        self._gan = GAN(trained, self.generator, critic, how)

    def _make_encoding(self) -> None:
        shape, how = self.recipe.encoder, self.recipe.inverting
        self.arguments[ENCODER] = {
            "rows": self.generator.num_ws,
            "style_dim": self.generator.w_dim,
            "size": shape.size,
            "widths": list(shape.widths),
            "blocks": list(shape.blocks),
        }
        self.arguments[LATENT_CRITIC] = {"style_dim": self.generator.w_dim, "n_mlp": shape.critic_layers}
        inversion = Inversion(**self.arguments[ENCODER])
        critic = LatentCodesDiscriminator(**self.arguments[LATENT_CRITIC])
        if shape.backbone:
            start_backbone(inversion.encoder, shape.backbone)
        perceptual = lpips.distance(how.perceptual, how.lpips_files, "inverting.lpips_files")
        identity = None
        if how.identity == "arcface":
            identity = read_arcface(how.identity_file, "inverting.identity_file")
        self.networks |= {ENCODER: inversion, LATENT_CRITIC: critic}
        self._encoding = Encoding(inversion, critic, self.generator, how, perceptual, identity)

    def frozen(self) -> Iterable[nn.Module]:
        found = self._encoding
        return [] if found is None else [one for one in (found.perceptual, found.identity) if one is not None]

    def stages(self) -> Sequence[Stage]:
        return self.recipe.stages

    def pictures(self, split: Split, stage: str) -> Pictures:
        if self._opened is None:
            self._opened = open_portraits(self.recipe.data)
        faces = self._opened.train if split == "train" else self._opened.validation
        return Portraits(faces, self.recipe.data.flip if split == "train" else 0.0)

    def optimisers(self) -> Mapping[str, Optimizer]:
        made: dict[str, Optimizer] = {}
        if self._gan is not None:
            how = self.recipe.adversarial
            betas = (how.beta1, how.beta2)
            rate, slower = lazy(how.rate, betas, how.path_every, how.path > 0)
            made[GENERATOR] = torch.optim.Adam(self._gan.trained.parameters(), lr=rate, betas=slower)
            rate, slower = lazy(how.critic_rate, betas, how.r1_every, how.r1 > 0)
            made[CRITIC] = torch.optim.Adam(self._gan.critic.parameters(), lr=rate, betas=slower)
        if self._encoding is not None:
            inverting = self.recipe.inverting
            encoder = self._encoding.inversion.parameters()
            made[ENCODER] = torch.optim.RAdam(encoder, lr=inverting.rate, betas=(0.95, 0.999))
            rows = self._encoding.critic.parameters()
            made[LATENT_CRITIC] = torch.optim.Adam(rows, lr=inverting.critic_rate)
        return made

    @torch.no_grad()
    def enter(self, stage: str) -> None:
        if stage == GAN_STAGE and self._gan is not None:
            source, target = self.generator, self._gan.trained
            if not self.recipe.resume_mean:
                source, target = target, source
            target.load_state_dict(source.state_dict())
        if stage == E4E and self._encoding is not None:
            if not self.generator.mapping.w_avg.any():  # zeros until a GAN stage or a checkpoint sets it
                raise RecipeError(
                    "stage e4e: its generator was never trained, expected one that makes faces: name a checkpoint of "
                    "it by --set run.weights=FOLDER, or put a stage gan before this one"
                )
            self._encoding.inversion.latent_avg.copy_(self.generator.mapping.w_avg)

    def step(self, batch: Batch, turn: Turn) -> Scalars:
        if turn.stage == E4E:
            assert self._encoding is not None
            return e4e_step(self._encoding, batch["image"], turn)
        assert self._gan is not None
        return {**gan_step(self._gan, batch["image"], turn, self._p), "augmented": self._p}

    def watch(self, scalars: Mapping[str, float], turn: Turn) -> Verdict:
        """ADA: the probability follows the sign of the critic's scores of real pictures."""
        ada = self.recipe.augmentation
        if "sign" not in scalars or not ada.target:
            return CarryOn()
        self._signs.append(scalars["sign"])
        if len(self._signs) >= _ADA_EVERY:
            mean = sum(self._signs) / len(self._signs)
            batch = next(stage.batch for stage in self.recipe.stages if stage.name == turn.stage)
            moved = np.sign(mean - ada.target) * batch * len(self._signs) / ada.pictures
            self._p = float(min(max(self._p + moved, 0.0), ada.most))
            self._signs = []
        return CarryOn()

    def state(self) -> Mapping[str, Any]:
        paths = 0.0 if self._gan is None else self._gan.paths
        return {"augmented": self._p, "signs": self._signs, "paths": paths}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._p = float(state["augmented"])
        self._signs = [float(sign) for sign in state["signs"]]
        if self._gan is not None:
            self._gan.paths = float(state["paths"])

    def sample(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> npt.NDArray[np.uint8]:
        """gan: a picture of the data, then one face at truncations 0 (the mean), .7 and 1. e4e: the picture, what the
        encoder makes of it, and the mean."""
        generator, image = _generator(networks), batch["image"]
        if turn.stage == E4E:
            return _pixels([image, *self._inverted(networks, image)])
        first, _ = codes(generator, len(image), turn)
        mean = generator.mapping.w_avg
        shown = [mean.lerp(first, psi)[:, None].repeat(1, generator.num_ws, 1) for psi in _SHOWN_PSI]
        return _pixels([image, *(generator.synthesis(ws) for ws in shown)])

    def validate(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> Scalars:
        """Of e4e: decibels of the inverted picture, and of the mean latent's, which it has to beat."""
        if turn.stage != E4E:
            return {}
        size = self.recipe.encoder.size
        image = resized(batch["image"], size)
        made, mean = (
            functional.adaptive_avg_pool2d(one, size) for one in self._inverted(networks, batch["image"])
        )
        return {"decibels": decibels(made, image), "decibels_of_mean": decibels(mean, image)}

    def _inverted(self, networks: Mapping[str, nn.Module], image: Tensor) -> tuple[Tensor, Tensor]:
        generator, inversion = _generator(networks), networks[ENCODER]
        assert isinstance(inversion, Inversion)
        ws = inversion(resized(image, inversion.encoder.size))
        return generator.synthesis(ws), generator.synthesis(inversion.latent_avg.expand_as(ws))

    def about_data(self) -> Mapping[str, Any]:
        return {} if self._opened is None else dict(self._opened.about)


def _generator(networks: Mapping[str, nn.Module]) -> Generator:
    generator = networks[GENERATOR]
    assert isinstance(generator, Generator)
    return generator


def _pixels(columns: Sequence[Tensor]) -> npt.NDArray[np.uint8]:
    """Pictures (B, 3, S, S) in -1..1, side by side: uint8 (B, columns, S, S, 3)."""
    stacked = torch.stack([column.float() for column in columns], 1).clamp(-1, 1)
    whole = ((stacked + 1) * 127.5).round().to(torch.uint8).permute(0, 1, 3, 4, 2)
    return np.ascontiguousarray(whole.cpu().numpy())
