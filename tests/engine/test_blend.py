from __future__ import annotations

import numpy as np
import pytest

from engine.blend import paste
from engine.errors import PortError
from engine.geometry import square_crop
from engine.types import Crop, Patch

CANVAS = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def _patch(matrix: np.ndarray, size: int, mask: np.ndarray | None = None, value: int = 200) -> Patch:
    rgb = np.full((size, size, 3), value, np.uint8)
    return Patch(rgb, mask, Crop(matrix, size), CANVAS)


def test_a_shifted_patch_is_copied_exactly_and_the_canvas_stays() -> None:
    """Pasting writes into a new picture and touches no pixel outside the patch."""
    before = CANVAS.copy()
    out = paste(_patch(np.array([[1.0, 0.0, -10.0], [0.0, 1.0, -20.0]]), 32))
    assert (out[20:52, 10:42] == 200).all()
    out[20:52, 10:42] = CANVAS[20:52, 10:42]
    assert np.array_equal(out, CANVAS)
    assert np.array_equal(CANVAS, before)


@pytest.mark.parametrize(("x", "y"), [(-20, -7), (100, 80), (300, 300)])
def test_a_patch_over_the_border_is_cut(x: int, y: int) -> None:
    """A face at the picture's edge, or outside of it, pastes what falls inside."""
    out = paste(_patch(np.array([[1.0, 0.0, -x], [0.0, 1.0, -y]]), 32))
    expected = CANVAS.copy()
    expected[max(0, y) : max(0, y + 32), max(0, x) : max(0, x + 32)] = 200
    assert np.array_equal(out, expected)


def test_the_mask_decides_pixel_by_pixel() -> None:
    """Mask 255 is the generated pixel, 0 the canvas, and between them they mix linearly."""
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 8:16], mask[:, 16:] = 51, 255
    out = paste(_patch(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 32, mask))
    assert np.array_equal(out[:32, :8], CANVAS[:32, :8])
    assert (out[:32, 16:32] == 200).all()
    mixed = 0.2 * 200 + 0.8 * CANVAS[:32, 8:16].astype(float)
    assert np.abs(out[:32, 8:16] - mixed).max() <= 1


def test_a_scaled_patch_covers_its_square() -> None:
    """A crop at another scale comes back to where it was cut, within resampling."""
    crop = square_crop(np.array([60.0, 45.0]), 40.0, 80)
    out = paste(_patch(crop.matrix, 80))
    assert (out[27:63, 42:78] == 200).all()
    assert np.array_equal(out[:20], CANVAS[:20])


def test_cutting_and_pasting_a_smooth_picture_gives_it_back() -> None:
    """Crop and paste share one pixel-centre convention: no shift of half a pixel remains."""
    import cv2

    y, x = np.mgrid[0:90, 0:120]
    smooth = np.stack([x * 2, y * 2, x + y], axis=2).astype(np.uint8)
    crop = square_crop(np.array([58.3, 44.1]), 40.0, 97)
    cut = cv2.warpAffine(smooth, crop.matrix, (97, 97), flags=cv2.INTER_LINEAR)
    out = paste(Patch(np.asarray(cut, np.uint8), None, crop, smooth))
    assert np.abs(out.astype(int) - smooth).max() <= 2


@pytest.mark.parametrize(
    "patch",
    [
        Patch(np.zeros((8, 8, 3), np.uint8), None, Crop(np.eye(2, 3), 16), CANVAS),
        Patch(np.zeros((16, 16, 3), np.float32), None, Crop(np.eye(2, 3), 16), CANVAS),
        Patch(np.zeros((16, 16, 3), np.uint8), np.zeros((2, 2), np.uint8), Crop(np.eye(2, 3), 16), CANVAS),
        Patch(np.zeros((16, 16, 3), np.uint8), None, Crop(np.full((2, 3), np.nan), 16), CANVAS),
    ],
    ids=["small rgb", "float rgb", "small mask", "NaN matrix"],
)
def test_a_patch_whose_parts_do_not_fit_is_refused(patch: Patch) -> None:
    """Nothing is read beyond an array's end: what does not fit is a PortError."""
    with pytest.raises(PortError):
        paste(patch)
