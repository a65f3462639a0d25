"""The class tables on both sides of the arrows."""

from __future__ import annotations

from engine.parsing.classes import BISENET as ENGINE_BISENET
from engine.parsing.classes import CELEBAMASK as ENGINE_CELEBAMASK
from trainers.classes import BISENET, CELEBAMASK
from trainers.faces import PARSING_CLASSES, PARSING_MIRROR


def test_engine_and_trainers_number_the_parts_alike() -> None:
    """Labels cross as files, so a table that differed would swap parts in silence."""
    assert ENGINE_CELEBAMASK.names == CELEBAMASK
    assert ENGINE_BISENET.names == BISENET
    assert ENGINE_CELEBAMASK.mirror == PARSING_MIRROR
    assert len(CELEBAMASK) == PARSING_CLASSES


def test_the_two_tables_differ() -> None:
    """Only background, skin and eyes happen to agree, so labels read by the wrong table look like a face."""
    assert sorted(BISENET) == sorted(CELEBAMASK)
    same = {name for name, other in zip(CELEBAMASK, BISENET) if name == other}
    assert same == {"background", "skin", "l_eye", "r_eye"}
