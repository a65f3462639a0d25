"""What a training writes, keeps, survives, and stops for."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from pathlib import Path

import cv2
import pytest
import torch

from tests.trainers.conftest import kept
from trainers import checkpoint, records
from trainers.alone import Alone
from trainers.errors import CheckpointError, DataError, DivergedError, RecipeError, StorageError


def steps(out: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in (out / "checkpoints").iterdir())


def test_a_training_writes_its_folder(tiny, tmp_path) -> None:
    """Recipe, scalars, samples, checkpoints of the last steps and of every stage's end."""
    outcome = tiny("out", "run.tensorboard=true")
    out = tmp_path / "out"
    assert (outcome.step, outcome.steps, outcome.interrupted) == (12, 12, "")
    assert steps(out) == [4, 6, 9, 12], (
        "4 is the first stage's end, 12 the second's, two newer ones stay beside"
    )
    found = checkpoint.read(out)
    assert (found.step, found.system, found.arguments["critic"]) == (12, "tiny", {"width": 4})
    assert found.data == {"extractor": "none", "size": 8}
    assert found.facts == {"epoch": 2.8, "stage_step": 7}, "those of the step last made"
    assert set(found.networks()) == {"generator", "critic", "generator_ema"}
    lines = (out / "scalars.csv").read_text().splitlines()
    assert lines[0].startswith("step,stage,seconds,content,")
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["2", "warm"], ["4", "warm"], ["6", "adversarial"], ["8", "adversarial"], ["10", "adversarial"],
        ["12", "adversarial"],
    ]  # fmt: skip
    column = lines[0].split(",").index("validation/distance")
    assert [bool(line.split(",")[column]) for line in lines[1:]] == [False, True, True, False, False, True]
    sheet = cv2.imread(str(out / "samples/step_00000012.png"))
    assert sheet.shape == (5 * 10 - 2, 2 * 10 - 2, 3), "five held-back pictures of 8 px, two columns"
    assert list((out / "tensorboard").iterdir())
    assert "the weight is 1.25" in (out / "notes.txt").read_text()


def test_the_schedule_and_the_ratio_are_functions_of_the_turn(tiny, tmp_path) -> None:
    """Rates are set before each step, and what was not stepped has no cell."""
    tiny("out", "run.log_every=1")
    lines = [line.split(",") for line in (tmp_path / "out/scalars.csv").read_text().splitlines()]
    column = {name: [row[i] for row in lines[1:]] for i, name in enumerate(lines[0])}
    assert [float(rate) for rate in column["rate/warm"][:4]] == [0.01, 0.00875, 0.0075, 0.00625]
    assert [bool(rate) for rate in column["rate/generator"][4:]] == [True, False] * 4
    assert [float(rate) for rate in column["rate/critic"][4:]] == pytest.approx(
        [0.001 * (1 - 0.5 * i / 8) for i in range(8)], rel=1e-5
    )


def test_a_clipped_step_is_as_long_as_its_clip() -> None:
    """`norms` says what the gradients were; what is stepped is no longer than `clip`."""
    from trainers.system import Turn

    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    other = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    optimisers = {"one": torch.optim.SGD([weight], lr=1.0), "two": torch.optim.SGD([other], lr=1.0)}
    turn = Turn(stage="any", optimisers=optimisers)
    turn.descend((weight * other * torch.tensor([6.0, 8.0])).sum(), "one", clip=1.0)
    assert weight.tolist() == pytest.approx([3 - 0.6, 4 - 0.8])
    assert turn.norms["one"] == pytest.approx(10.0)
    assert other.grad is None, "a loss reaches the parameters of its own optimiser only"


def test_a_value_that_is_lost_stops_before_it_is_saved(tiny, tmp_path) -> None:
    """The last good checkpoint stays, is named, and going on from it without the fault ends as ever."""
    tiny("whole")
    with pytest.raises(
        DivergedError, match=r"step 7: content is nan.*step_00000006; go on from it with --resume"
    ):
        tiny("out", "lost_at=7", "critic_ratio=1")
    assert steps(tmp_path / "out") == [3, 4, 6]
    with pytest.raises(DivergedError, match=r"no checkpoint was written yet"):
        tiny("early", "lost_at=1")
    with pytest.raises(DivergedError):
        tiny("again", "lost_at=10")
    tiny("again", resume=True)
    last = "checkpoints/step_00000012"
    assert kept(tmp_path / "again" / last) == kept(tmp_path / "whole" / last)


def test_weights_that_are_lost_are_not_saved(tiny, tmp_path, monkeypatch) -> None:
    """Though every scalar looked well."""
    from tests.trainers.tiny import Tiny

    step = Tiny.step

    def spoil(self, batch, turn):
        scalars = step(self, batch, turn)
        if turn.step == 4:
            self.generator.head.bias.data[1] = float("inf")
        return {"nothing": 0.0} if turn.step == 4 else scalars

    monkeypatch.setattr(Tiny, "step", spoil)
    with pytest.raises(DivergedError, match=r"step 5: weight generator/head\.bias is not finite"):
        tiny("out", "run.save_every=5", "run.validate_every=0")
    assert steps(tmp_path / "out") == [4]


def test_the_systems_own_guard_stops_with_its_reason(tiny, tmp_path) -> None:
    """What it says is what the user reads, and it is noted."""
    with pytest.raises(
        DivergedError, match=r"step 8: the mask is saturated; raise losses\.mask; the last good"
    ):
        tiny("out", "stop_at=8")
    assert "the mask is saturated" in (tmp_path / "out/notes.txt").read_text()


def full_while(monkeypatch: pytest.MonkeyPatch, full: set[int]) -> None:
    """A disk that is full while the checkpoints of these steps are written, found in the middle of a file."""
    save_file = checkpoint.save_file

    def save(tensors, path) -> None:
        if path.name == "training.safetensors" and int(path.parent.name[6:14]) in full:
            path.write_bytes(b"\0" * 100)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save_file(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", save)


def test_a_full_disk_costs_a_checkpoint_not_the_training(tiny, tmp_path, monkeypatch, capsys) -> None:
    """It is told, the older one stays whole, and the next one is written when there is room again."""
    full_while(monkeypatch, {6, 9})
    outcome = tiny("out")
    assert outcome.checkpoint.name == "step_00000012"
    assert steps(tmp_path / "out") == [3, 4, 12]
    told = capsys.readouterr().err
    assert "No space left on device" in told
    assert "the training goes on, the last whole checkpoint is " in told


def test_a_disk_full_at_the_end_is_an_error_and_the_older_checkpoint_whole(
    tiny, tmp_path, monkeypatch
) -> None:
    """Nobody is told that a training is done which was not kept."""
    full_while(monkeypatch, {9, 12})
    with pytest.raises(StorageError, match="No space left on device"):
        tiny("out")
    found = checkpoint.read(tmp_path / "out")
    assert found.step == 6
    assert found.training().state["place"]["step"] == 6
    monkeypatch.undo()
    assert tiny("out", resume=True).step == 12


def test_records_that_cannot_be_written_are_told_once(tiny, tmp_path, monkeypatch, capsys) -> None:
    """Scalars and samples are worth less than the training."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(records.Table, "add", full)
    monkeypatch.setattr(records, "write_grid", full)
    assert tiny("out").step == 12
    told = capsys.readouterr().err
    assert told.count("scalars.csv cannot be written") == 1
    assert told.count("samples cannot be written") == 1


def test_a_picture_that_cannot_be_read_is_told_and_another_taken(tiny, tmp_path) -> None:
    """One broken file costs no night, and the order stays the same with any number of processes."""
    stage = 'stages=[{name="warm",steps=6,batch=4}]'  # one: each starts processes of its own
    tiny("alone", "data.broken=[2, 5]", stage)
    assert "picture 5: cannot be read; another picture is taken" in (tmp_path / "alone/notes.txt").read_text()
    tiny("several", "data.broken=[2, 5]", stage, "run.workers=2")
    last = "checkpoints/step_00000006"
    assert kept(tmp_path / "several" / last) == kept(tmp_path / "alone" / last)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_folder_of_broken_pictures_is_an_error(tiny, workers) -> None:
    """In one line, also from a process that reads for the training."""
    with pytest.raises(
        DataError, match=r"^10 pictures in a row cannot be read, the last one: picture \d"
    ) as caught:
        tiny("out", f"data.broken={list(range(10))}", f"run.workers={workers}", "run.sample_every=0")
    assert "\n" not in str(caught.value)


def test_another_systems_or_widths_checkpoint_is_refused(tiny, tmp_path) -> None:
    """Before the first step, naming both."""
    tiny("out", "kill_at=4")
    with pytest.raises(CheckpointError, match=r"'generator' was built with width 4, expected 6"):
        tiny("out", "width=6", resume=True)
    path = tmp_path / "out/checkpoints/step_00000005/checkpoint.json"
    path.write_text(
        path.read_text().replace('"system": "tiny",\n "arguments"', '"system": "geogan",\n "arguments"')
    )
    with pytest.raises(CheckpointError, match="is of system 'geogan', expected 'tiny'"):
        tiny("out", resume=True)


def test_what_a_crash_left_is_mended(tiny, tmp_path) -> None:
    """A half-written folder goes, and one that was moved aside comes back."""
    tiny("out", "kill_at=4")
    folder = tmp_path / "out/checkpoints"
    (folder / ".step_00000009.partial").mkdir()
    (folder / "step_00000003").rename(folder / ".step_00000003.older")
    tiny("out", "kill_at=5", resume=True)
    assert steps(tmp_path / "out") == [4, 5, 6], "3 came back, and was the oldest"
    assert not list(folder.glob(".*"))


def test_a_second_training_leaves_the_folder_alone(tiny, tmp_path) -> None:
    """Two at once would clear away each other's checkpoints; once the first has ended, however, it is free."""
    first = Path(tmp_path / "out")
    first.mkdir()
    (first / "checkpoints/.step_00000003.partial").mkdir(parents=True)
    with closing(Alone(first)), pytest.raises(StorageError, match="another training writes into it"):
        tiny("out")
    assert [path.name for path in first.iterdir()] == ["checkpoints"]
    assert list((first / "checkpoints").iterdir())
    assert tiny("out").step == 12


def test_stages_without_name_or_picture_are_refused(tiny) -> None:
    """Before anything is written."""
    twice = '[{name="warm",steps=1},{name="warm",steps=1}]'
    with pytest.raises(RecipeError, match="expected one or more with different names"):
        tiny("out", f"stages={twice}")
    with pytest.raises(RecipeError, match="got none"):
        tiny("out", "stages=[]")
    with pytest.raises(DataError, match="holds no picture to train on"):
        tiny("out", "data.count=0")


def test_bfloat16_trains_with_weights_in_float32(tiny, tmp_path) -> None:
    """The networks compute in it, and what is kept is exact."""
    tiny("out", "run.precision=bfloat16")
    weights = checkpoint.read(tmp_path / "out").weights("generator")
    assert all(value.dtype != torch.bfloat16 for value in weights.values())
    tiny("whole")
    assert not torch.equal(
        checkpoint.read(tmp_path / "whole").weights("generator")["head.weight"], weights["head.weight"]
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(tiny) -> None:
    """Nothing trains on the CPU in silence."""
    with pytest.raises(RecipeError, match="torch finds no GPU"):
        tiny("out", "run.device=cuda")
