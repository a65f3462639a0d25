"""The class tables on both sides of the arrows."""

from __future__ import annotations

import numpy as np
import torch

from engine.parsing.classes import BISENET as ENGINE_BISENET
from engine.parsing.classes import CELEBAMASK as ENGINE_CELEBAMASK
from engine.parsing.colour import unpaint
from trainers.classes import BISENET, CELEBAMASK, COLOURS
from trainers.faces import PARSING_CLASSES, PARSING_MIRROR
from trainers.maskgan.labels import one_hot
from trainers.maskgan.sheet import coloured, pixels


def test_engine_and_trainers_number_the_parts_alike() -> None:
    """Labels cross as files, so a table that differed would swap parts in silence."""
    assert ENGINE_CELEBAMASK.names == CELEBAMASK
    assert ENGINE_BISENET.names == BISENET
    assert ENGINE_CELEBAMASK.mirror == PARSING_MIRROR
    assert len(CELEBAMASK) == PARSING_CLASSES


def test_a_trainings_sheet_shows_the_colours_that_the_engine_reads() -> None:
    """One palette on both sides: a label map on a sample sheet can be read back, every class of it."""
    assert [COLOURS[name] for name in CELEBAMASK] == [
        tuple(row) for row in ENGINE_CELEBAMASK.palette.tolist()
    ]
    labels = torch.arange(19, dtype=torch.uint8).reshape(1, 1, 19)
    shown = pixels([coloured(one_hot(labels))])[0, 0]
    assert np.array_equal(unpaint(np.ascontiguousarray(shown)), labels[0].numpy())


def test_the_two_tables_differ() -> None:
    """Only background, skin and eyes happen to agree, so labels read by the wrong table look like a face."""
    assert sorted(BISENET) == sorted(CELEBAMASK)
    same = {name for name, other in zip(CELEBAMASK, BISENET) if name == other}
    assert same == {"background", "skin", "l_eye", "r_eye"}
