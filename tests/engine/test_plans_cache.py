"""The plan cache under attack: the right plan or a rebuild, never a crash, never another's plan."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import PlanCancelled, PlanError
from engine.plans import folder as folders
from engine.plans import lock, secret
from engine.plans.cache import PlanCache, plans_folder
from engine.plans.folder import PrivateFolder
from engine.plans.key import PlanKey, Target, key_of
from engine.plans.request import LOWERING, Built, PlanRequest

posix = pytest.mark.skipif(os.name != "posix", reason="modes and owners are POSIX's")

TARGET = Target("NVIDIA H100", (9, 0), "580.95.05", "11.4.0.106")
REQUEST = PlanRequest(b"an ONNX file", "render", "fp16")
KEY = key_of(REQUEST, TARGET)
PLAN = bytes(range(256)) * 40

# A process of its own that asks for KEY's plan; `{wait}` runs while it builds.
ASKS = """
import sys, time, os
from pathlib import Path
from engine.plans.cache import PlanCache
from engine.plans.request import Built
from tests.engine.test_plans_cache import KEY, PLAN
folder = Path(sys.argv[1])
def build():
    with (folder.parent / "builds").open("a") as file:
        file.write("built\\n")
    {wait}
    return Built(PLAN, {{"tensorrt": "11"}})
kept = PlanCache(folder).obtain(KEY, build)
print(kept.plan == PLAN, kept.fresh, kept.fault, flush=True)
"""


class Builds:
    """A builder that counts."""

    def __init__(self, plan: bytes = PLAN) -> None:
        self.plan, self.count = plan, 0

    def __call__(self) -> Built:
        self.count += 1
        return Built(self.plan, {"tensorrt": "11.4.0.106"})


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def file_of(cache: PlanCache, key: PlanKey = KEY) -> Path:
    return cache.folder / f"{key.name()}.plan"


def filled(cache: PlanCache, key: PlanKey = KEY, plan: bytes = PLAN) -> Path:
    cache.obtain(key, Builds(plan))
    return file_of(cache, key)


def spawned(wait: str, folder: Path) -> subprocess.Popen[str]:
    """The process above."""
    code = ASKS.format(wait=wait)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def assert_rebuilt(cache: PlanCache) -> None:
    """Asked now, the plan is built again, and kept: asked once more, it is loaded."""
    builds = Builds()
    kept = cache.obtain(KEY, builds)
    assert (kept.plan, kept.fresh, kept.fault, builds.count) == (PLAN, True, "", 1)
    again = cache.obtain(KEY, builds)
    assert (again.plan, again.fresh, builds.count) == (PLAN, False, 1)


def test_a_plan_is_built_once_and_then_loaded(cache: PlanCache) -> None:
    """The second start costs no build; versions of the builder are kept with the plan."""
    assert cache.load(KEY) is None
    assert_rebuilt(cache)
    found = cache.load(KEY)
    assert found is not None
    assert (found.plan, found.versions) == (PLAN, {"tensorrt": "11.4.0.106"})


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(KEY, precision="fp32"),
        dataclasses.replace(KEY, batches=(1,)),
        dataclasses.replace(KEY, flavour="rtx"),
        dataclasses.replace(KEY, refit=True),
        dataclasses.replace(KEY, graph=KEY.graph[:-1] + ("0" if KEY.graph[-1] != "0" else "1")),
        dataclasses.replace(KEY, target=dataclasses.replace(TARGET, gpu="NVIDIA H200")),
        dataclasses.replace(KEY, target=dataclasses.replace(TARGET, capability=(9, 1))),
        dataclasses.replace(KEY, target=dataclasses.replace(TARGET, driver="590.1")),
        dataclasses.replace(KEY, target=dataclasses.replace(TARGET, tensorrt="11.5.0")),
    ],
    ids=["precision", "batches", "flavour", "refit", "graph", "gpu", "capability", "driver", "tensorrt"],
)
def test_a_plan_of_another_key_is_not_taken_even_under_this_ones_name(
    cache: PlanCache, other: PlanKey, caplog: pytest.LogCaptureFixture
) -> None:
    """Its HMAC is right, for this user built it; still it is of another GPU, version or graph, and is named as such."""
    theirs = filled(cache, other, b"another plan")
    assert cache.load(KEY) is None
    file_of(cache).write_bytes(theirs.read_bytes())
    file_of(cache).chmod(0o600)
    with caplog.at_level(logging.WARNING):
        assert_rebuilt(cache)
    assert "bears this one's name" in caplog.text
    assert file_of(cache).name in caplog.text
    kept = cache.load(other)
    assert kept is not None
    assert kept.plan == b"another plan"


def test_the_key_is_of_what_was_asked_and_the_machine() -> None:
    """The same request on the same machine is the same key; a workspace decides on speed alone."""
    assert key_of(dataclasses.replace(REQUEST, workspace_bytes=1), TARGET) == KEY
    assert key_of(dataclasses.replace(REQUEST, graph=b"another"), TARGET) != KEY
    assert key_of(dataclasses.replace(REQUEST, precision="bf16"), TARGET).name() != KEY.name()


def test_a_changed_lowering_builds_anew(cache: PlanCache, caplog: pytest.LogCaptureFixture) -> None:
    """The graph of before may hold float16 where the new one keeps float32; nobody else's fault is looked for."""
    before = dataclasses.replace(KEY, lowering=LOWERING - 1)
    filled(cache, before)
    builds = Builds()
    assert cache.load(KEY) is None
    assert cache.obtain(KEY, builds).fresh
    assert builds.count == 1
    assert cache.load(before) is not None  # an older Marotte beside this one keeps its own
    assert not caplog.text


def test_other_plans_of_the_graph_are_counted(cache: PlanCache) -> None:
    """So that it can be told why one is built though some are there."""
    filled(cache, dataclasses.replace(KEY, target=dataclasses.replace(TARGET, driver="590.1")))
    filled(cache, key_of(dataclasses.replace(REQUEST, graph=b"another"), TARGET))
    assert cache.others(KEY) == 1


@pytest.mark.parametrize("place", [0, 17, 30, 300, -40, -1])
def test_a_corrupt_byte_is_found_wherever_it_stands(cache: PlanCache, place: int) -> None:
    """Magic, length, header, plan and HMAC: one flipped bit is a rebuild."""
    file = filled(cache)
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    assert_rebuilt(cache)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 40, 2000])
def test_a_cut_file_is_a_rebuild(cache: PlanCache, size: int) -> None:
    """A file of any length is read without a crash."""
    file = filled(cache)
    file.write_bytes(file.read_bytes()[:size])
    assert_rebuilt(cache)


def test_a_planted_plan_with_another_secrets_hmac_is_not_loaded(cache: PlanCache, tmp_path: Path) -> None:
    """Everything in it is right but the one thing that only this user could have written."""
    elsewhere = PlanCache(tmp_path / "elsewhere")
    planted = filled(elsewhere, KEY, b"native code of somebody else")
    filled(cache)
    file_of(cache).write_bytes(planted.read_bytes())
    assert_rebuilt(cache)


def test_nothing_of_a_file_is_read_before_its_hmac(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header made to hurt its reader never reaches it."""
    file = filled(cache)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    monkeypatch.setattr("engine.plans.cache.strict_json", lambda _: pytest.fail("the header was read"))
    assert cache.load(KEY) is None


@posix
@pytest.mark.parametrize("what", ["file", "secret"])
@pytest.mark.parametrize("how", ["link", "folder", "pipe", "mode", "owner", "two names"])
def test_files_that_others_could_have_made_are_not_read(
    cache: PlanCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, how: str
) -> None:
    """Links, folders, pipes, open modes, other owners and second names: each is taken away and made anew."""
    filled(cache)
    file = file_of(cache) if what == "file" else cache.folder / secret.NAME
    number = file.stat().st_ino
    data = file.read_bytes()
    if how == "mode":
        file.chmod(0o640)
    elif how == "two names":
        os.link(file, tmp_path / "second")
    elif how == "owner":
        check, kept = folders._check, file.open("rb")  # kept open, or its number would be given out again

        def foreign(status: os.stat_result) -> None:
            if status.st_ino == number:
                raise folders.Untrusted("it belongs to another user")
            check(status)

        monkeypatch.setattr(folders, "_check", foreign)
    else:
        file.unlink()
        if how == "link":
            (tmp_path / "target").write_bytes(data)
            (tmp_path / "target").chmod(0o600)
            file.symlink_to(tmp_path / "target")
        elif how == "folder":
            (file / "inside").mkdir(parents=True)
        else:
            os.mkfifo(file)
    assert_rebuilt(cache)
    assert stat.S_ISREG(file.lstat().st_mode)
    if how == "owner":
        kept.close()
    if how == "link":
        assert (tmp_path / "target").read_bytes() == data


@posix
@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_of_another_length_is_made_anew(cache: PlanCache, size: int) -> None:
    """An emptied secret must not become a key that everybody knows."""
    filled(cache)
    (cache.folder / secret.NAME).write_bytes(b"x" * size)
    assert_rebuilt(cache)
    assert len((cache.folder / secret.NAME).read_bytes()) == secret.BYTES


@posix
def test_folder_and_files_are_closed_to_others(cache: PlanCache) -> None:
    """0700 and 0600, whatever the umask allows."""
    before = os.umask(0)
    try:
        filled(cache)
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in cache.folder.iterdir()} == {0o600}


@posix
def test_a_folder_that_was_open_to_others_is_emptied(
    cache: PlanCache, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever could write there could have put a secret of their own beside a plan of their own."""
    filled(cache)
    cache.folder.chmod(0o777)
    with caplog.at_level(logging.WARNING):
        assert_rebuilt(cache)
    assert "was open to other users" in caplog.text
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


@posix
def test_another_users_folder_is_refused(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner can change everything in it at any time: there is no plan from there."""
    filled(cache)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    builds = Builds()
    with pytest.raises(PlanError, match=r"belongs to another user.*--cache"):
        cache.obtain(KEY, builds)
    assert builds.count == 0


@posix
def test_a_link_in_place_of_the_folder_is_refused(cache: PlanCache, tmp_path: Path) -> None:
    """It could point into any folder of this user."""
    (tmp_path / "home").mkdir()
    cache.folder.symlink_to(tmp_path / "home")
    with pytest.raises(PlanError, match="is a link"):
        cache.load(KEY)
    assert not list((tmp_path / "home").iterdir())


def test_a_file_in_place_of_the_folder_is_one_line(cache: PlanCache) -> None:
    """What the user has to do stands in it."""
    cache.folder.write_bytes(b"")
    with pytest.raises(PlanError, match="name another folder"):
        cache.load(KEY)


def test_two_processes_that_ask_at_once_build_once(cache: PlanCache, tmp_path: Path) -> None:
    """The second waits for the first and loads what it built."""
    both = [spawned("time.sleep(0.5)", cache.folder) for _ in range(2)]
    told = sorted(one.communicate(timeout=60)[0].split()[:2] for one in both)
    assert told == [["True", "False"], ["True", "True"]]
    assert (tmp_path / "builds").read_text().split() == ["built"]


def test_threads_that_ask_at_once_build_once(cache: PlanCache) -> None:
    """Sessions that start together share one build."""
    builds, started = Builds(), threading.Barrier(4)
    found: list[bytes] = []

    def ask() -> None:
        started.wait()
        found.append(cache.obtain(KEY, builds).plan)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [PLAN] * 4
    assert builds.count == 1


@posix
@pytest.mark.parametrize("where", ["while it builds", "in mid-write", "before the name"])
def test_a_builder_killed_at_any_moment_leaves_no_plan_and_no_lock(
    cache: PlanCache, tmp_path: Path, where: str
) -> None:
    """kill -9: the next one does not wait, builds, and takes away what was left."""
    told = 'print("ready", flush=True); time.sleep(600)'
    stops = {
        "while it builds": told,
        "in mid-write": (
            "os.fdopen, real = (lambda *a: type('F', (), {'__enter__': lambda s: s, '__exit__': lambda *x: None,"
            "'write': lambda s, b: (os.write(a[0], bytes(b[:9])), print('ready', flush=True), time.sleep(600))})()),"
            " os.fdopen"
        ),
        "before the name": f"os.fsync = lambda _: ({told.replace('; ', ', ')})",
    }
    filled(PlanCache(cache.folder), dataclasses.replace(KEY, refit=True))  # so that the secret is there
    child = spawned(stops[where], cache.folder)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    unfinished = list(cache.folder.glob(".*.tmp"))
    assert len(unfinished) == (0 if where == "while it builds" else 1)
    assert_rebuilt(cache)
    assert not list(cache.folder.glob(".*.tmp"))
    assert (tmp_path / "builds").read_text().split() == ["built"]


@posix
def test_a_quota_that_ends_in_mid_write_still_gives_the_plan(cache: PlanCache) -> None:
    """A real limit on the size of files: the plan is used, nothing half is left, and the fault is told."""
    filled(cache, dataclasses.replace(KEY, refit=True))
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    told, _ = spawned(limit, cache.folder).communicate(timeout=60)
    assert told.startswith("True True a plan is not kept")
    assert "free some space" in told
    assert not list(cache.folder.glob(".*.tmp"))
    assert not file_of(cache).exists()
    assert_rebuilt(cache)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_still_gives_the_plan(
    cache: PlanCache, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Whatever fails while it is written down: the plan itself is there."""
    filled(cache, dataclasses.replace(KEY, refit=True))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    kept = cache.obtain(KEY, Builds())
    assert (kept.plan, kept.fresh) == (PLAN, True)
    assert "No space left on device" in kept.fault
    monkeypatch.undo()
    assert not list(cache.folder.glob(".*.tmp"))
    assert_rebuilt(cache)


def test_a_disk_too_full_for_a_secret_is_one_line(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a secret nothing can be kept, and the message says what helps."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(PlanError, match=r"no secret .*No space left.*free some space"):
        cache.obtain(KEY, Builds())


def test_the_least_recently_used_plan_makes_room(cache: PlanCache) -> None:
    """The bound holds for all plans together; loading counts as use."""
    small = PlanCache(cache.folder, most_bytes=3 * len(PLAN))
    keys = [dataclasses.replace(KEY, batches=(size,)) for size in (1, 2, 3)]
    for at, key in enumerate(keys[:2]):
        os.utime(filled(small, key), (at + 1, at + 1))
    assert small.load(keys[0]) is not None
    filled(small, keys[2])
    assert [file_of(small, key).exists() for key in keys] == [True, False, True]
    assert sum(file.stat().st_size for file in cache.folder.glob("*.plan")) <= 3 * len(PLAN)


def test_a_plan_above_the_bound_is_used_and_not_kept(cache: PlanCache) -> None:
    """Nor does it throw the others away."""
    small = PlanCache(cache.folder, most_bytes=len(PLAN) // 2)
    other = filled(small, dataclasses.replace(KEY, refit=True), b"small")
    kept = small.obtain(KEY, Builds())
    assert kept.plan == PLAN
    assert "at most" in kept.fault
    assert other.exists()


def test_a_wait_for_another_builder_can_be_ended(cache: PlanCache) -> None:
    """A user who stops does not wait for minutes."""
    cancel = threading.Event()
    cancel.set()
    with PrivateFolder(cache.folder) as folder, lock.held(folder, KEY.name() + ".lock"):
        assert not lock.is_free(folder, KEY.name() + ".lock")
        with pytest.raises(PlanCancelled):
            cache.obtain(KEY, Builds(), cancel)


def test_a_file_system_without_locks_builds_all_the_same(
    cache: PlanCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At worst a plan is built twice; both are right."""
    filled(cache, dataclasses.replace(KEY, refit=True))

    def none(_: int) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "take", none)
    with caplog.at_level(logging.WARNING):
        assert_rebuilt(cache)
    assert "No locks available" in caplog.text


def test_a_failing_builder_is_told_and_leaves_nothing(cache: PlanCache) -> None:
    """Its own error comes through, an operating system's too, and the next one may try again."""
    for error in (PlanError("the graph was refused"), OSError("the builder's own")):

        def fails(error: Exception = error) -> Built:
            raise error

        with pytest.raises(type(error), match=str(error)):
            cache.obtain(KEY, fails)
    assert_rebuilt(cache)


def test_a_plan_that_its_runtime_refuses_is_taken_away(
    cache: PlanCache, caplog: pytest.LogCaptureFixture
) -> None:
    """By name and with the reason; then it is built again."""
    filled(cache)
    with caplog.at_level(logging.WARNING):
        cache.remove(KEY, "TensorRT cannot read it")
    assert "TensorRT cannot read it" in caplog.text
    assert_rebuilt(cache)


def test_plans_lie_below_the_caches_root(tmp_path: Path) -> None:
    """Beside the models, where one option moves both."""
    assert plans_folder(tmp_path) == tmp_path / "plans"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: PlanRequest(b"", "x", "fp16"), "graph is empty"),
        (lambda: PlanRequest(b"x", "x", "fp17"), "precision: expected one of fp32"),  # type: ignore[arg-type]
        (lambda: PlanRequest(b"x", "x", "fp16", flavour="rtz"), "flavour"),  # type: ignore[arg-type]
        (lambda: PlanRequest(b"x", "x", "fp16", ()), "batches"),
        (lambda: PlanRequest(b"x", "x", "fp16", (2, 1)), "batches"),
        (lambda: PlanRequest(b"x", "x", "fp16", (0, 1)), "batches"),
        (lambda: PlanRequest(b"x", "x", "fp16", (1, 65)), "batches"),
        (lambda: PlanRequest(b"x", "x", "fp16", workspace_bytes=0), "workspace_bytes"),
        (lambda: PlanCache(Path("x"), 0), "room"),
    ],
)
def test_requests_that_mean_nothing_are_refused(change: Callable[[], object], words: str) -> None:
    """Before a builder takes minutes for them."""
    with pytest.raises(PlanError, match=words):
        change()
