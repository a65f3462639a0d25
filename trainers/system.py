"""What a system gives to be trained, and what the loop gives it for every step.

A system is a class with networks, optimisers and one training step. The loop (trainers/loop.py) owns everything
else: device and precision, data order, random numbers, averaging, saving, resuming and stopping. A step may depend on
the networks, the optimisers, `System.state()`, the batch and the `Turn`, and on nothing else, because that is what a
checkpoint keeps; a training that is resumed then goes on bit for bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Split = Literal["train", "validation"]
Scalars = Mapping[str, "Tensor | float"]
Batch = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """A stretch of the training with its own batch and, where the system says so, its own data and losses.

    steps or epochs: its length; exactly one of them is more than 0. An epoch is one pass over the stage's pictures.
    batch: pictures per step, over all processes together.
    """

    name: str
    steps: int = 0
    epochs: float = 0.0
    batch: int = 16

    def __post_init__(self) -> None:
        if (self.steps > 0) == (self.epochs > 0) or self.steps < 0 or self.epochs < 0:
            raise ValueError(f"stage {self.name!r}: give either steps or epochs, more than 0")
        if self.batch < 1:
            raise ValueError(f"stage {self.name!r}: batch is {self.batch}, expected 1 or more")


@dataclass(frozen=True, slots=True)
class Draw:
    """What the loop asks a dataset for: the sample's index, and the seed of everything random about it.

    The seed depends on the recipe's seed and on the sample's place in the training only, so that no two workers share
    random numbers and none of them changes when the training is resumed or the number of workers is another.
    """

    index: int
    seed: int

    def numbers(self) -> np.random.Generator:
        """Random numbers of this sample: augmentation, a random partner, a random target."""
        return np.random.default_rng(self.seed)


class Pictures(Protocol):
    """A dataset: it may be read by several worker processes, so it holds no random state of its own."""

    def __len__(self) -> int: ...

    def __getitem__(self, draw: Draw, /) -> Mapping[str, Any]:
        """One sample: names to tensors, arrays, numbers or strings. The loop stacks them to a batch of tensors.

        Raises PictureError when it cannot be read: the loop then takes the next one, and says so once.
        """
        ...


@dataclass(frozen=True)
class CarryOn:
    """A guard's verdict: nothing to say."""


@dataclass(frozen=True)
class Adjusted:
    """A guard's verdict: it changed something of the system's `state()`; `text` says what, from, to and why."""

    text: str


@dataclass(frozen=True)
class Stop:
    """A guard's verdict: going on is of no use; `text` explains, and says what to change. The run ends in error."""

    text: str


Verdict = CarryOn | Adjusted | Stop


@dataclass
class Turn:
    """One step: where it stands, its random numbers, and the way to step an optimiser.

    step: 0-based, over the whole training; `stage_step` within the stage, of `stage_steps`. epoch: passes over the
    stage's pictures so far, 0-based and fractional: `int(turn.epoch)` is the epoch that the papers count from 0.
    generator: on the networks' device, seeded from the recipe's seed, the step and the process. Every random number
    of a step comes from it (torch.rand(..., device=turn.device, generator=turn.generator)); the global generator,
    which dropout reads, is seeded alike before each step.
    autocast: `with turn.autocast(): fake = self.generator(x).float()`: the recipe's precision. What comes out may be
    bfloat16, so make it float32 at once; losses, and a gradient penalty's whole computation, stay outside of it.
    average: over the processes, in place. norms: by optimiser, the largest gradient norm of this step.

    A test of one step needs no loop: Turn(stage="adversarial", optimisers={"critic": adam, ...}).
    """

    stage: str
    optimisers: Mapping[str, Optimizer]
    step: int = 0
    stage_step: int = 0
    stage_steps: int = 1
    epoch: float = 0.0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    generator: torch.Generator = field(default_factory=torch.Generator)
    autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    average: Callable[[Sequence[Tensor]], None] = lambda tensors: None
    norms: dict[str, Tensor] = field(default_factory=dict)

    def descend(
        self, loss: Tensor, optimiser: str, *, clip: float | None = None, retain_graph: bool = False
    ) -> None:
        """One whole step of one optimiser on one loss: gradients to zero, `backward`, `update`."""
        self.optimisers[optimiser].zero_grad(set_to_none=True)
        self.backward(loss, optimiser, retain_graph=retain_graph)
        self.update(optimiser, clip=clip)

    def backward(self, loss: Tensor, optimiser: str, *, retain_graph: bool = False) -> None:
        """Add the gradients of `loss` to the parameters of this optimiser, and to no others.

        So a generator's loss leaves nothing in the critic, without any requires_grad_(False).
        """
        inputs = _parameters(self.optimisers[optimiser])
        torch.autograd.backward(loss, inputs=inputs, retain_graph=retain_graph)

    def update(self, optimiser: str, *, clip: float | None = None) -> None:
        """Average this optimiser's gradients over the processes, clip their joint norm to `clip`, and step."""
        gradients = [p.grad for p in _parameters(self.optimisers[optimiser]) if p.grad is not None]
        self.average(gradients)
        norm = torch.nn.utils.get_total_norm(gradients)
        if clip is not None:
            factor = (clip / (norm + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(gradients, factor)
        self.norms[optimiser] = torch.maximum(self.norms.get(optimiser, norm), norm).detach()
        self.optimisers[optimiser].step()


def _parameters(optimiser: Optimizer) -> list[nn.Parameter]:
    return [p for group in optimiser.param_groups for p in group["params"] if p.requires_grad]


class System(Protocol):
    """One method's training half. Subclass it: what has a body here is a default.

    The constructor takes the recipe's values (an instance of `Recipe`), validates them, and builds the networks on the
    CPU; weights may be drawn from torch's global generator, which the loop has seeded. It reads no picture.
    """

    name: ClassVar[str]
    """As recipes and checkpoints name it."""

    Recipe: ClassVar[type]
    """A frozen dataclass of everything a recipe may say beside `system` and `[run]`: tables are nested dataclasses,
    such as data, networks, losses, stages (tuple[Stage, ...]). Reject values in __post_init__ by ValueError."""

    networks: Mapping[str, nn.Module]
    """By name, all that is trained and saved. The loop moves them; the same objects stay in use."""

    arguments: Mapping[str, Mapping[str, Any]]
    """Per network the constructor's arguments, as JSON: `type(network)(**arguments)` builds it again."""

    def __init__(self, recipe: Any, /) -> None: ...

    def stages(self) -> Sequence[Stage]:
        """In order. Their names choose what `pictures` and `step` do."""
        ...

    def pictures(self, split: Split, stage: str) -> Pictures:
        """The dataset of a split in a stage. Called once each, before the first step; checks the data.

        "validation" may be empty (length 0); nothing is validated then, and samples come from "train".
        Raises DataError where the data does not suit the recipe (another extractor or mode, impossible AU statistics).
        """
        ...

    def optimisers(self) -> Mapping[str, Optimizer]:
        """By name, made once when the networks are on their device. The same parameters may stand in several.

        `lr` given here is the base of `rate`. A stage may have optimisers of its own; what is not stepped rests.
        """
        ...

    def rate(self, optimiser: str, turn: Turn) -> float:
        """The schedule: the factor on every group's base learning rate at this turn, set before each step.

        A function of the turn alone (step, stage_step, stage_steps, epoch), so that resuming needs no schedule state.
        """
        return 1.0

    def averages(self) -> Mapping[str, float]:
        """The networks of which a moving average is kept, with its decay per update (such as 0.999).

        An update is a step of an optimiser that holds the network's parameters. The decay starts low, as
        min(decay, (1 + n) / (10 + n)) at update n, so that the first weights are soon forgotten.
        """
        return {}

    def starts_averaged(self) -> Collection[str]:
        """The networks that `run.weights` gives the moving average of another training, where that kept one: what it
        would have exported. The rest go on from the weights as they were stepped, as their critics know them."""
        return ()

    def enter(self, stage: str) -> None:
        """Called before a stage's first step, never on resuming within it: copy weights, reset a norm."""

    def step(self, batch: Batch, turn: Turn) -> Scalars:
        """One training step: losses, and `turn.descend` for each optimiser that is due (a critic's ratio is
        `turn.stage_step % n`). Returns what to record, each a detached 0-d tensor or a float; averaged over processes.

        batch: the dataset's names, tensors on the device, first axis the sample. A name that was not returned in a
        step keeps an empty cell there.
        """
        ...

    def sample(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> npt.NDArray[np.uint8]:
        """Pictures to look at, uint8 (rows, columns, H, W, 3) RGB: one row per sample of the batch.

        networks: the moving average where one is kept, else the network itself, in eval mode, without gradients.
        turn: the same random numbers every time; the batch is always the same one.
        """
        ...

    def validate(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> Scalars:
        """Means over a batch of held-back samples, networks as in `sample`. The loop averages them over the split."""
        return {}

    def watch(self, scalars: Mapping[str, float], turn: Turn) -> Verdict:
        """The system's own guard, after every step, with that step's scalars (the same in every process).

        It may change what `state` returns (a weight, say) and says so by Adjusted, or end the training by Stop.
        """
        return CarryOn()

    def finished(self, turn: Turn) -> bool:
        """Whether the stage has come to its end before its last step; asked before each, also after resuming. It has to
        follow from `state`, and to be the same in every process."""
        return False

    def state(self) -> Mapping[str, Any]:
        """What the system itself remembers between steps, as JSON: adjusted weights, counters, a guard's averages."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned when the checkpoint was written."""

    def about_data(self) -> Mapping[str, Any]:
        """checkpoint.json's `data`, as JSON: extractor, mode, crop, aus, size, ... Called after `pictures`."""
        ...

    def facts(self, turn: Turn) -> Mapping[str, Any]:
        """checkpoint.json's `facts`, as JSON: what inference must know beside the arguments (GeoGAN's refinement weight
        at this epoch, the norm mode). turn: the step last made."""
        return {}

    def frozen(self) -> Iterable[nn.Module]:
        """Networks that are needed but neither trained nor saved (a perceptual loss): the loop moves them."""
        return ()
