"""The systems that can be trained, by the name that recipes and checkpoints give them."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from trainers.errors import RecipeError

if TYPE_CHECKING:
    from trainers.system import System

SYSTEMS = {
    "ganimation": "trainers.ganimation.training:GANimation",
    "geogan": "trainers.geogan.training:GeoGAN",
    "liquid_warping": "trainers.liquid_warping.training:LiquidWarping",
    "maskgan": "trainers.maskgan.training:MaskGAN",
    "stit": "trainers.stit.training:STIT",
}
"""Name to "module:class"; the module is imported when the system is asked for."""

COMPANIONS = {
    "maskgan_parser": "trainers.maskgan.parser_training:ParserTraining",
    "maskgan_vae": "trainers.maskgan.vae_training:MaskVAETraining",
}
"""The same for networks that are trained by themselves and are exported with the system that they belong to."""


def find_system(name: str) -> type[System]:
    """The class of a system. Raises RecipeError naming the nearest one."""
    known = SYSTEMS | COMPANIONS
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise RecipeError(f"system: got {name!r}; {hint}expected one of {', '.join(sorted(known))}")
    module, _, attribute = known[name].partition(":")
    found: type[System] = getattr(importlib.import_module(module), attribute)
    return found
