"""The two class tables, labels that carry their table, and masks as colours."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ConfigError, InputError
from engine.parsing.classes import BISENET, CELEBAMASK, TABLES, ClassTable, Parsing, Part
from engine.parsing.colour import paint, unpaint
from engine.types import U8


def _every_class() -> U8:
    return np.arange(19, dtype=np.uint8).reshape(1, 19).repeat(3, 0)


def test_celebamask_has_the_order_of_celebamask_hq() -> None:
    """Trained parsers and generators index by these numbers; a permutation swaps parts in silence."""
    names = (
        "background skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear "
        "mouth u_lip l_lip hair hat ear_r neck_l neck cloth"
    )
    assert list(CELEBAMASK.names) == names.split()
    assert [int(part) for part in Part] == list(range(19))


def test_bisenet_has_the_order_of_face_parsing_pytorch() -> None:
    """STIT's foreground is everything but 0, 16 and 18: background, cloth and hat."""
    assert [BISENET.names[number] for number in (0, 16, 18)] == ["background", "cloth", "hat"]
    assert BISENET.numbers(("nose", "mouth", "neck", "hair", "l_brow")) == (10, 11, 14, 17, 2)
    assert sorted(BISENET.names) == sorted(CELEBAMASK.names)
    assert len(BISENET) == len(CELEBAMASK) == 19
    assert TABLES == {"celebamask": CELEBAMASK, "bisenet": BISENET}


def test_labels_are_renumbered_by_name_and_back() -> None:
    """What was hair is hair in the other table, whatever its number."""
    ours = Parsing(_every_class(), CELEBAMASK)
    theirs = ours.to(BISENET)
    for number, name in enumerate(CELEBAMASK.names):
        assert BISENET.names[theirs.labels[0, number]] == name
    np.testing.assert_array_equal(theirs.to(CELEBAMASK).labels, ours.labels)
    assert ours.to(CELEBAMASK) is ours


def test_labels_of_one_table_are_never_read_as_the_others() -> None:
    """Who asks for a table's labels gets those, or is told what to do."""
    found = Parsing(_every_class(), BISENET)
    with pytest.raises(InputError, match=r"got labels of bisenet, expected celebamask; convert them by to\("):
        found.of(CELEBAMASK)
    assert found.of(BISENET) is found.labels


def test_a_class_that_the_other_table_lacks_is_refused() -> None:
    """A table of fewer parts cannot take everything in."""
    few = ClassTable("few", ("background", "skin"))
    with pytest.raises(InputError, match="few has no class"):
        Parsing(_every_class(), CELEBAMASK).to(few)
    with pytest.raises(ConfigError, match="did you mean 'skin'"):
        few.number("skim")


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((1, 4, 4), np.uint8),
        np.full((4, 4), 19, np.uint8),
        np.zeros((4, 4), np.int64),
    ],
)
def test_labels_are_whole_numbers_of_the_table(labels: U8) -> None:
    """Floats, further axes and unknown classes are refused where they enter."""
    with pytest.raises(InputError, match="parsing: got"):
        Parsing(labels, CELEBAMASK)


def test_by_way_of_scaled_floats_labels_change() -> None:
    """The released demo makes float pictures of labels and multiplies them back: four classes come out one lower, which
    is why labels stay uint8 from end to end."""
    labels = np.arange(19, dtype=np.uint8)
    scaled = labels.astype(np.float32) / np.float32(255.0)
    back = (scaled / np.float32(1.0 / 255.0)).astype(np.uint8)
    assert np.flatnonzero(back != labels).tolist() == [7, 13, 14, 15]
    assert (labels[[7, 13, 14, 15]] - back[[7, 13, 14, 15]]).tolist() == [1, 1, 1, 1]
    assert Parsing(_every_class(), CELEBAMASK).labels.dtype == np.uint8


def test_mirrored_classes_swap_eyes_brows_and_ears() -> None:
    """In both tables, and twice mirrored is the class itself."""
    for table in TABLES.values():
        mirror = np.array(table.mirror)
        np.testing.assert_array_equal(mirror[mirror], np.arange(19))
        swapped = {table.names[k] for k in np.flatnonzero(mirror != np.arange(19))}
        assert swapped == {"l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"}


def test_a_part_has_one_colour_in_both_tables() -> None:
    """Two classes of one colour could not be told apart in a picture, nor two pictures of two tables compared."""
    assert len(np.unique(CELEBAMASK.palette, axis=0)) == 19
    ours = Parsing(_every_class(), CELEBAMASK)
    np.testing.assert_array_equal(paint(ours.labels), paint(ours.to(BISENET).labels, table=BISENET))


def test_colours_come_back_as_labels_and_nothing_else_does() -> None:
    """A painted mask is lossless; a colour in between, as resizing makes it, is refused with its place."""
    for table in TABLES.values():
        np.testing.assert_array_equal(unpaint(paint(_every_class(), table=table), table), _every_class())
    broken = paint(_every_class())
    broken[1, 7] = (1, 2, 3)
    with pytest.raises(InputError, match=r"colour \(1, 2, 3\) at \(7, 1\)"):
        unpaint(broken)
    with pytest.raises(InputError, match="expected uint8"):
        unpaint(np.zeros((3, 3), np.uint8))


def test_painting_keeps_a_picture_at_opacity_0() -> None:
    """The colours lie over the picture as strongly as was asked."""
    rgb = np.random.default_rng(0).integers(0, 255, (3, 19, 3), dtype=np.uint8)
    np.testing.assert_array_equal(paint(_every_class(), rgb, 0.0), rgb)
    np.testing.assert_array_equal(paint(_every_class(), rgb, 1.0), paint(_every_class()))
