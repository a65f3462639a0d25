"""Where a training runs: the CPU, one GPU, or as many processes as torchrun started; and what they share."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from trainers.config import Run
from trainers.errors import RecipeError


class Devices:
    """Fabric, as far as it is used: device, precision, and the sums over processes.

    Gradients are averaged where an optimiser steps (`average`), not by a wrapper around the networks: so a step may
    call them as often and in any order it likes, as adversarial trainings do.
    """

    def __init__(self, run: Run) -> None:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        if run.threads:
            torch.set_num_threads(run.threads)
        cuda = torch.cuda.is_available()
        if run.device == "cuda" and not cuda:
            raise RecipeError("run.device is 'cuda', and torch finds no GPU here: take 'cpu' or 'auto'")
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's
        everywhere = int(os.environ.get("WORLD_SIZE", "1"))
        several = "TORCHELASTIC_RUN_ID" in os.environ and everywhere > 1
        self._fabric = Fabric(
            accelerator="cuda" if cuda and run.device != "cpu" else "cpu",
            devices=here if several else 1,
            num_nodes=everywhere // here if several else 1,
            strategy="ddp" if several else "auto",
            precision="bf16-mixed" if run.precision == "bfloat16" else "32-true",
        )
        self._fabric.launch()
        self.device: torch.device = self._fabric.device
        self.rank: int = self._fabric.global_rank
        self.processes: int = self._fabric.world_size
        self.first: bool = self.rank == 0
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True

    @property
    def autocast(self) -> Callable[[], AbstractContextManager[Any]]:
        return self._fabric.autocast

    def move(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch's tensors on the device."""
        return {
            name: value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in batch.items()
        }

    def average(self, tensors: Sequence[Tensor]) -> None:
        """The mean over the processes, in place, in one message. Every process gives the same shapes."""
        if self.processes == 1 or not tensors:
            return
        flat = self._mean(torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors]))
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts):
            tensor.detach().copy_(part.view_as(tensor))

    def means(self, scalars: Mapping[str, Tensor | float]) -> dict[str, float]:
        """Scalars as numbers, the mean over the processes; every one gives the same names."""
        if not scalars:
            return {}
        tensors = [torch.as_tensor(v, dtype=torch.float32, device=self.device) for v in scalars.values()]
        stacked = torch.stack([tensor.detach().reshape(()) for tensor in tensors])
        return dict(zip(scalars, (stacked if self.processes == 1 else self._mean(stacked)).tolist()))

    def average_buffers(self, networks: Mapping[str, nn.Module]) -> None:
        """Running statistics, which every process has gathered from its own part of the batches."""
        self.average([b for module in networks.values() for b in module.buffers() if b.is_floating_point()])

    def any(self, flag: bool) -> bool:
        """Whether it is so in any of the processes."""
        if self.processes == 1:
            return flag
        return bool(self._mean(torch.tensor(float(flag), device=self.device)) > 0)

    def wait(self) -> None:
        """Until every process is here."""
        self._fabric.barrier()

    def close(self) -> None:
        """Part from the other processes."""
        if self.processes > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def _mean(self, values: Tensor) -> Tensor:
        mean = self._fabric.all_reduce(values, reduce_op="mean")
        if not isinstance(mean, Tensor):
            raise TypeError(f"all_reduce gave {type(mean).__name__}")
        return mean
