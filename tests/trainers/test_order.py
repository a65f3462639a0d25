"""The order of the samples and their random numbers follow from the seed and the place alone."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.trainers.tiny import TinyPictures
from trainers.errors import DataError
from trainers.order import Batches, Order, collate, loader, read_batch, seed_of, spread
from trainers.system import Draw


def test_every_epoch_shows_every_sample_once_in_another_order() -> None:
    """And batches run on over an epoch's end."""
    order = Order(10, seed=3, stage="warm")
    epochs = [[order.draw(e * 10 + i).index for i in range(10)] for e in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    batches = list(Batches(order, position=8, batch=4, steps=2))
    assert [draw.index for draw in batches[0]] == epochs[0][8:] + epochs[1][:2]
    assert len(batches) == 2


def test_another_seed_or_stage_is_another_order() -> None:
    """Nothing of it comes from a global generator."""
    orders = [Order(50, 3, "a"), Order(50, 4, "a"), Order(50, 3, "b")]
    shown = [[order.draw(i) for i in range(50)] for order in orders]
    assert shown[0] == [Order(50, 3, "a").draw(i) for i in range(50)]
    for one, other in itertools.combinations(shown, 2):
        assert [draw.index for draw in one] != [draw.index for draw in other]
        assert not {draw.seed for draw in one} & {draw.seed for draw in other}


def test_no_two_samples_share_their_random_numbers() -> None:
    """The same picture in another epoch is augmented otherwise."""
    order = Order(7, 0, "a")
    assert len({order.draw(i).numbers().integers(1 << 60) for i in range(70)}) == 70


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_a_batch_without_gap_or_overlap(processes) -> None:
    """So a batch is the same one on any number of GPUs."""
    order = Order(10, 0, "a")
    whole = list(Batches(order, 0, 8, 3))
    parts = [list(Batches(order, 0, 8, 3, rank, processes)) for rank in range(processes)]
    for step, batch in enumerate(whole):
        shared = [draw for part in parts for draw in part[step]]
        assert sorted(shared, key=lambda draw: draw.seed) == sorted(batch, key=lambda draw: draw.seed)


def test_reading_takes_nothing_from_the_global_generator() -> None:
    """Else a resumed training would see other numbers than one that has been running."""
    state = torch.random.get_rng_state()
    batches = Batches(Order(10, 0, "a"), 0, 4, 2)
    read = [batch for batch, _ in loader(TinyPictures(10), batches, workers=0, pin=False)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert read[0]["picture"].shape == (4, 3, 8, 8)
    assert read[0]["target"].dtype == torch.float32
    wanted = [order.index for order in next(iter(batches))]
    assert read[0]["index"].tolist() == wanted


def test_numbers_of_python_become_float32() -> None:
    """Networks compute in it."""
    from trainers.order import Read

    batch, _ = collate([Read({"a": 0.5, "b": 1, "c": "x"}), Read({"a": 1.5, "b": 2, "c": "y"})])
    assert (batch["a"].dtype, batch["b"].dtype, batch["c"]) == (torch.float32, torch.int64, ["x", "y"])


def test_an_unreadable_picture_gives_its_place_to_the_next() -> None:
    """Its random numbers stay, and its reason is told."""
    batch, passed = read_batch(TinyPictures(5, broken=(3, 4)), [Draw(3, 11)])
    assert batch["index"].tolist() == [0]
    assert passed == ("picture 3: cannot be read", "picture 4: cannot be read")
    with pytest.raises(DataError, match="3 pictures in a row"):
        read_batch(TinyPictures(3, broken=(0, 1, 2)), [Draw(1, 11)])


def test_a_seed_depends_on_every_part() -> None:
    """Numbers and text alike, and where one ends and the next begins."""
    parts = [(1, "a"), (1, "b"), (2, "a"), ("1", "a"), ("1a",), (1, "a", 0), (1,)]
    assert len({seed_of(*part) for part in parts}) == len(parts)
    assert 0 <= seed_of("x") < 1 << 63


def test_a_few_are_spread_over_all() -> None:
    """Samples show many people, not the first one's frames."""
    assert spread(100, 4) == [0, 25, 50, 75]
    assert spread(3, 8) == [0, 1, 2]
    assert spread(0, 8) == []
