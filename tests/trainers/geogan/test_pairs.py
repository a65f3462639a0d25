"""Who meets whom: lists of their own for each attribute, no person of the other split, what is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainers.geogan.folder import recipe_table, write_folder
from trainers.config import from_table
from trainers.errors import DataError
from trainers.geogan.album import Opened, labels_of, open_albums
from trainers.geogan.pairs import Mixed, Supervised, Unpaired, lists_of
from trainers.geogan.recipe import Attribute, Shares
from trainers.system import Draw


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = write_folder(tmp_path_factory.mktemp("data") / "prepared")
    options = from_table(recipe_table(folder)).options
    return open_albums(options.data, options.attributes)


ATTRIBUTES = (Attribute("smile", ("AU12",), 0.6, 0.2), Attribute("open", ("AU25", "AU26"), 0.6, 0.2))


def test_what_lies_between_the_thresholds_is_neither() -> None:
    """The largest of an attribute's AUs is looked at."""
    aus = np.zeros((4, 17), np.float32)
    aus[:, 8] = 0.1, 0.4, 0.9, 0.0
    aus[3, 15] = 0.7
    assert labels_of(aus, ATTRIBUTES).tolist() == [[0, 0], [-1, 0], [1, 0], [0, 1]]


def test_attributes_do_not_share_their_lists() -> None:
    """The official lists are one list under several names, so attributes mix."""
    labels = np.array([[1, 0], [0, 1], [0, 0], [1, 1]], np.int8)
    smile, gap = lists_of(labels, ATTRIBUTES, "drawn")
    assert smile.having.tolist() == [0, 3]
    assert gap.having.tolist() == [1, 3]
    assert smile.lacking.tolist() == [1, 2]
    assert lists_of(labels, ATTRIBUTES, "every")[0].lacking.tolist() == [2]


def test_an_attribute_that_nobody_lacks_is_told() -> None:
    """With the numbers, before the first step."""
    with pytest.raises(DataError, match=r"'smile': 2 pictures have it and 0 lack it"):
        lists_of(np.array([[1, 0], [1, 1]], np.int8), ATTRIBUTES, "drawn")


def test_every_pair_is_of_two_persons_of_its_split(opened: Opened) -> None:
    """The donor has the attribute, the target lacks all of them; validation uses held-back persons only."""
    for album in (opened.train, opened.validation):
        pairs = Unpaired(album, ATTRIBUTES, "every", "random")
        assert len(pairs) == int((album.labels == 1).sum())
        for index in range(len(pairs)):
            sample = pairs[Draw(index, index)]
            assert sample["donor_labels"].max() == 1
            assert sample["target_labels"].max() == 0
            assert not torch.equal(
                sample["target"][:, 0, 0], sample["donor"][:, 0, 0]
            )  # the persons' grounds
    assert set(opened.train.faces.persons).isdisjoint(opened.validation.faces.persons)


def test_the_official_pairing_is_fixed(opened: Opened) -> None:
    """The same target whatever the seed; random draws differ."""
    fixed = Unpaired(opened.train, ATTRIBUTES, "drawn", "fixed")
    assert all(
        torch.equal(fixed[Draw(k, 1)]["target"], fixed[Draw(k, 2)]["target"]) for k in range(len(fixed))
    )
    drawn = Unpaired(opened.train, ATTRIBUTES, "drawn", "random")
    assert any(
        not torch.equal(drawn[Draw(0, 0)]["target"], drawn[Draw(0, seed)]["target"]) for seed in range(1, 8)
    )


def test_wanted_is_the_target_above_and_the_expression_below(opened: Opened) -> None:
    """Target and wanted are one person; with its own expression as donor, the lower face is the donor's."""
    pairs = Supervised(opened.train, Shares(own=1.0, any_target=0.0))
    for index in range(len(pairs)):
        sample = pairs[Draw(index, index)]
        assert torch.equal(sample["wanted"][:, :6], sample["target"][:, :6])
        assert torch.equal(sample["wanted"][:, 10:], sample["donor"][:, 10:])
        assert torch.equal(sample["wanted_landmarks"], sample["donor_landmarks"])
        assert sample["target_labels"].max() == 0
        assert float(sample["has_wanted"]) == float(sample["has_plain"]) == 1
        assert not torch.equal(sample["donor_plain"], sample["donor"])
        assert torch.equal(sample["donor_plain"][:, :6], sample["donor"][:, :6])


def test_a_donor_for_a_wanted_picture_shows_the_same(opened: Opened) -> None:
    """Another person, nearest in the lower face first."""
    pairs = Supervised(opened.train, Shares(own=0.0, any_target=1.0))
    sample = pairs[Draw(0, 3)]
    assert not torch.equal(sample["donor"][:, 0, 0], sample["wanted"][:, 0, 0])


def test_a_mixed_stage_holds_both_kinds_with_the_same_names(opened: Opened) -> None:
    """So that they stack to one batch."""
    supervised = Supervised(opened.train, Shares())
    pairs = Mixed(supervised, Unpaired(opened.train, ATTRIBUTES, "every", "random"), 0.5)
    samples = [pairs[Draw(k % len(pairs), k)] for k in range(16)]
    assert {float(sample["has_wanted"]) for sample in samples} == {0.0, 1.0}
    assert all(set(sample) == set(samples[0]) for sample in samples)


def test_a_folder_without_synthesis_gives_no_supervised_pairs(tmp_path: Path) -> None:
    """It says what to do."""
    folder = write_folder(tmp_path / "data")
    table: Any = (folder / "features.csv").read_text().splitlines()
    kept = [table[0], *(line for line in table[1:] if ",real," in line)]
    extra = kept[1].replace("p0", "p9").replace("0.0000", "0.9000")
    (folder / "features.csv").write_text("\n".join([*kept, extra]) + "\n")
    (folder / "images" / "p9.png").write_bytes((folder / "images" / "p0.png").read_bytes())
    options = from_table(recipe_table(folder)).options
    with pytest.raises(DataError, match="prepare with --synthesise"):
        Supervised(open_albums(options.data, options.attributes).train, options.shares)
