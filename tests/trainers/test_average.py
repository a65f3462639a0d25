"""The moving average of weights against its closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainers.average import Averages


def test_the_average_follows_its_closed_form() -> None:
    """a <- d a + (1 - d) w with the decay that starts low; buffers too, counters as they are."""
    network = nn.BatchNorm1d(1)
    averages = Averages({"generator": network}, {"generator": 0.3})
    wanted = 1.0
    for n, value in enumerate([2.0, 5.0, -1.0, 4.0, 4.0]):
        network.weight.data.fill_(value)
        network.running_mean.fill_(value - 1)
        network.num_batches_tracked.fill_(n)
        averages.update({"generator": network}, ["generator"])
        decay = min(0.3, (1 + n) / (10 + n))
        wanted = decay * wanted + (1 - decay) * value
        assert averages.networks["generator"].weight.item() == pytest.approx(wanted)
        assert averages.networks["generator"].running_mean.item() == pytest.approx(wanted - 1)
        assert averages.networks["generator"].num_batches_tracked.item() == n
    assert averages.updates == {"generator": 5}


def test_a_network_that_was_not_stepped_is_not_averaged() -> None:
    """With a critic's ratio of five, four of five steps leave the average alone."""
    network = nn.Linear(1, 1)
    averages = Averages({"generator": network, "critic": nn.Linear(1, 1)}, {"generator": 0.5})
    before = averages.networks["generator"].weight.clone()
    network.weight.data.add_(1)
    averages.update({"generator": network}, ["critic"])
    assert torch.equal(averages.networks["generator"].weight, before)
    assert averages.updates == {"generator": 0}
    assert not any(p.requires_grad for p in averages.networks["generator"].parameters())
