"""Edits in both spaces at once, and CLIP's text encoder, in closed forms and on narrow files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainers.stit.enrolled import W_DIM, generator
from trainers.errors import CheckpointError, RecipeError
from trainers.stit.clip_text import TextEncoder, Tokeniser, encoder_of, open_text_encoder
from trainers.stit.directions import Offset, StyleDirection, offset_of, synthesised
from trainers.stit.edits import read_direction, style_offsets, styled, text_direction

CHANNELS = 7 * 8  # b4.conv1, then two of each of b8, b16, b32


def test_edits_of_both_spaces_add_up() -> None:
    """W directions at half their strength, style directions whole; none is nothing; a wrong name has its nearest."""
    numbers = np.random.default_rng(0)
    smile, age, grey = numbers.normal(size=W_DIM), numbers.normal(size=W_DIM), numbers.normal(size=CHANNELS)
    directions = {"smile": smile, "age": age, "grey": StyleDirection(grey)}
    found = offset_of(directions, {"smile": 2.0, "age": -1.0, "grey": 3.0})
    assert found.ws == pytest.approx(smile - 0.5 * age)
    assert found.styles == pytest.approx(3.0 * grey)
    assert offset_of(directions, {}) == Offset() or offset_of(directions, {}).ws is None
    with pytest.raises(RecipeError, match="did you mean 'smile'"):
        offset_of(directions, {"smlie": 1.0})
    made, ws = generator(), torch.zeros(2, 8, W_DIM)
    with torch.no_grad():
        both = synthesised(made.synthesis, ws, found)
        moved = ws + torch.from_numpy(smile - 0.5 * age).float()
        added = style_offsets(made.synthesis, torch.from_numpy(grey).float())
        wanted = made.synthesis.from_styles(styled(made.synthesis, moved, added, 3.0))
        assert torch.allclose(both, wanted, atol=1e-5)
        assert torch.equal(synthesised(made.synthesis, ws, Offset()), made.synthesis(ws))
        assert not torch.allclose(both, made.synthesis(moved), atol=1e-3)


MERGES = [("a", "b"), ("ab", "c</w>"), ("a", "c</w>")]


def test_words_are_joined_in_the_order_of_the_merges() -> None:
    """Marks around, zeros behind, capitals lowered, what does not fit cut off; unknown letters go by bytes."""
    tokeniser = Tokeniser(MERGES)
    start, end = len(tokeniser) - 2, len(tokeniser) - 1
    first = 512
    assert len(tokeniser) == 512 + 3 + 2
    assert tokeniser("ABC", 5) == [start, first + 1, end, 0, 0]
    assert tokeniser("ac  abab", 8)[:3] == [start, first + 2, first]
    assert tokeniser("ab", 4) == [start, 64, 256 + 65, end], "b at a word's end is another part"
    assert tokeniser("x y z", 4) == [start, 256 + ord("x") - 33, 256 + ord("y") - 33, end]
    assert len(tokeniser("é", 9)) == 9


def test_the_encoder_sees_only_what_stands_before_and_reads_at_the_end() -> None:
    """Behind the last token anything may stand; before it nothing may."""
    torch.manual_seed(0)
    encoder = TextEncoder(600, 6, 64, 2, 5).eval()
    with torch.no_grad():
        encoder.text_projection.normal_()
        one, padded, other = (
            encoder(torch.tensor([row]))
            for row in ([5, 7, 599, 0, 0, 0], [5, 7, 599, 3, 2, 1], [5, 8, 599, 0, 0, 0])
        )
    assert one.shape == (1, 5)
    assert torch.allclose(one, padded, atol=1e-6)
    assert not torch.allclose(one, other, atol=1e-3)


def written(folder: Path) -> tuple[Path, Path, TextEncoder]:
    torch.manual_seed(1)
    encoder = TextEncoder(512 + 3 + 2, 8, 64, 1, 4)
    with torch.no_grad():
        encoder.text_projection.normal_()
    state = {name: value.half() for name, value in encoder.state_dict().items()}
    torch.save(state | {"visual.proj": torch.zeros(2), "logit_scale": torch.zeros(())}, folder / "clip.pt")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES), "more merges"]
    (folder / "bpe.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return folder / "clip.pt", folder / "bpe.txt.gz", encoder


def test_the_encoder_is_read_from_named_files(tmp_path: Path) -> None:
    """Official names, the picture's side left alone, one feature for each sentence."""
    weights, merges, encoder = written(tmp_path)
    (tmp_path / "prompts.txt").write_text("a {}\n\nthe {} b\n")
    features = open_text_encoder(weights, merges, tmp_path / "prompts.txt")
    found = features("abc")
    assert found.shape == (2, 4)
    tokens = torch.tensor([Tokeniser(MERGES)("a abc", 8)])
    with torch.no_grad():
        assert found[0].float() == pytest.approx(encoder.half().float()(tokens)[0], abs=1e-5)


def test_files_of_the_encoder_that_are_missing_or_others_are_refused(tmp_path: Path) -> None:
    """By name: no file, no encoder in it, too few merges, sentences without a place."""
    weights, merges, encoder = written(tmp_path)
    with pytest.raises(CheckpointError, match=r"none\.pt: no such file"):
        open_text_encoder(tmp_path / "none.pt", merges)
    with pytest.raises(CheckpointError, match="no text encoder of CLIP"):
        encoder_of({"visual.proj": torch.zeros(2)}, "it")
    broken = {name: value for name, value in encoder.state_dict().items() if "c_proj.bias" not in name}
    with pytest.raises(CheckpointError, match=r"c_proj\.bias"):
        encoder_of(broken, "it")
    (tmp_path / "short.txt").write_text("#version\na b\n")
    with pytest.raises(CheckpointError, match="3 lines of two parts"):
        open_text_encoder(weights, tmp_path / "short.txt")
    (tmp_path / "prompts.txt").write_text("a face\n")
    with pytest.raises(CheckpointError, match="sentences with"):
        open_text_encoder(weights, merges, tmp_path / "prompts.txt")
    (tmp_path / "code.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match=r"jit\.load"):
        open_text_encoder(tmp_path / "code.pt", merges)


def test_arrays_that_lie_are_told_in_a_line(tmp_path: Path) -> None:
    """A header of half a tuple, one that states more than any memory holds, an archive that is none, and a pipe."""
    path = tmp_path / "smile.npy"
    np.save(path, np.zeros((2, 8)))
    whole = path.read_bytes()
    wrong = [
        whole.replace(b"(2, 8), }", b"(2, (((((("),
        whole.replace(b"(2, 8), }       ", b"(2, 8000000000)"),
        b"PK\3\4" + whole,
    ]
    for data in wrong:
        assert data != whole
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="not readable as"):
            read_direction(path, 8)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match="is no file"):
        read_direction(path, 8)


def test_texts_between_which_nothing_lies_are_told() -> None:
    """Two of one feature, and two of different models."""
    with pytest.raises(CheckpointError, match="one feature"):
        text_direction(torch.ones(4), torch.ones(4))
    with pytest.raises(CheckpointError, match="two CLIP models"):
        text_direction(torch.ones(4), torch.ones(5))
