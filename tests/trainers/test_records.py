"""What is written beside the checkpoints: rows, sheets, lines, and the time left."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from trainers.curves import HEIGHT, WIDTH, curves
from trainers.grids import grid, write_grid
from trainers.progress import Progress, duration
from trainers.scalars import Table, Window


def test_a_row_is_the_mean_since_the_last_one() -> None:
    """Of the steps in which the scalar was there, and a cut-off row goes on where it was."""
    window = Window()
    window.add({"a": 1.0})
    window.add({"a": 3.0, "b": 10.0})
    window = Window(window.state())
    window.add({"a": 5.0})
    assert window.means() == {"a": 3.0, "b": 10.0}
    assert window.means() == {}


def test_a_column_that_comes_late_is_added_to_the_rows_before(tmp_path) -> None:
    """Every row has every column, empty where it was not there."""
    table = Table(tmp_path / "scalars.csv", 0)
    table.add({"step": 1, "stage": "a", "seconds": 0.5, "loss": 0.25})
    table.add({"step": 2, "stage": "a", "seconds": 1.0, "mask, mean": 1e-9})
    assert (tmp_path / "scalars.csv").read_text() == (
        'step,stage,seconds,loss,"mask, mean"\n1,a,0.5,0.25,\n2,a,1,,1e-09\n'
    )


def test_rows_after_the_step_that_is_resumed_from_go(tmp_path) -> None:
    """Also one that a full disk cut in two."""
    path = tmp_path / "scalars.csv"
    path.write_text("step,stage,seconds,loss\n1,a,1,0.5\n2,a,2,0.4\n3,a,3,0.3\n,a")
    Table(path, 2)
    assert path.read_text() == "step,stage,seconds,loss\n1,a,1,0.5\n2,a,2,0.4\n"


def test_a_sheet_holds_every_picture_in_its_place(tmp_path) -> None:
    """RGB in, a PNG of the same colours out."""
    pictures = np.zeros((2, 3, 4, 5, 3), np.uint8)
    pictures[1, 2] = (255, 10, 20)
    write_grid(tmp_path / "samples/one.png", pictures)
    sheet = cv2.imread(str(tmp_path / "samples/one.png"))[..., ::-1]
    assert sheet.shape == (2 * 6 - 2, 3 * 7 - 2, 3)
    assert (sheet[6:10, 14:19] == (255, 10, 20)).all()
    assert (sheet[4:6] == 255).all()
    assert (sheet[:4, :5] == 0).all()
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["one.png"]


@pytest.mark.parametrize("shape", [(4, 5, 3), (1, 1, 4, 5, 1), (0, 1, 4, 5, 3)])
def test_pictures_of_another_shape_are_refused(shape) -> None:
    """The line says what a system's `sample` has to give."""
    with pytest.raises(ValueError, match=r"expected uint8 \(rows, columns, H, W, 3\)"):
        grid(np.zeros(shape, np.uint8))


def test_the_time_left_is_that_of_the_last_minutes() -> None:
    """A stage that is slower than the one before soon says so."""
    now = [0.0]
    progress = Progress(1000, 0, quiet=True, clock=lambda: now[0])
    assert progress.left() == "?"
    for step in range(1, 101):
        now[0] += 1.0
        progress.step(step, {})
    assert (progress.speed(), progress.left()) == (1.0, "15 min")
    for step in range(101, 121):
        now[0] += 10.0
        progress.step(step, {})
    assert progress.speed() == pytest.approx(0.1)
    assert progress.left() == "2 h 27 min"


def test_off_a_terminal_a_line_comes_now_and_then(capsys) -> None:
    """So a log of a night can be read."""
    now = [0.0]
    progress = Progress(100, 40, clock=lambda: now[0])
    for step in range(41, 61):
        now[0] += 2.0
        progress.step(step, {"loss": 0.123456})
    said = capsys.readouterr().err.splitlines()
    assert said == ["marotte: step 55/100 (55 %), 0.50 steps/s, 2 min left, loss 0.1235"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (12000, "3 h 20 min"), (187200, "2 d 4 h")],
)
def test_durations_read_as_people_say_them(seconds, text) -> None:
    """Not 187200 s."""
    assert duration(seconds) == text


def line(panel: np.ndarray) -> np.ndarray:
    """Rows and columns of the dark line's pixels, which its edges blend into white."""
    return np.argwhere(panel[..., 2].astype(int) - panel[..., 0] > 60)


def test_curves_show_each_scalar_where_it_was(tmp_path) -> None:
    """A panel per scalar; a falling one falls in the picture, gaps and what is no number are left out."""
    table = Table(tmp_path / "scalars.csv", 0)
    for step in range(1, 60):
        late = {"late": 1.0} if step > 30 else {}
        stage = "a" if step < 31 else "b"
        table.add(
            {"step": step, "stage": stage, "seconds": 1.0, "loss": 60.0 - step, "odd": float("nan"), **late}
        )
    sheet = curves(*table.contents())
    assert sheet.shape == (HEIGHT, 2 * WIDTH, 3)
    blue = line(sheet[:, :WIDTH])
    left, right = blue[np.argmin(blue[:, 1])], blue[np.argmax(blue[:, 1])]
    assert left[0] < HEIGHT / 3 < 2 * HEIGHT / 3 < right[0]
    assert line(sheet[:, WIDTH:])[:, 1].min() > WIDTH / 2
    assert curves(("step", "stage", "seconds"), []).shape == (HEIGHT, WIDTH, 3)
