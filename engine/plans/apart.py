"""A builder in a process of its own: one that crashes, or takes all memory, takes nobody who is served with it.

``python -m engine.plans.apart PACKAGE.MODULE:FUNCTION`` reads a request from its input and writes to its output what
the builder told, and at the end the plan. When its input ends, as it does when its parent is gone, the build is
cancelled. A message is a letter, the lengths of a JSON text and of the bytes that follow it, that text, those bytes.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import IO, Any, Final, cast

from engine.errors import MarotteError, PlanCancelled, PlanError
from engine.plans.request import Builder, Built, PlanRequest, Progress

_HEAD: Final = struct.Struct(">cIQ")
_REQUEST, _TOLD, _BUILT, _FAILED = b"R", b"T", b"B", b"F"
_POLL_S: Final = 0.1
_GRACE_S: Final = 10.0
"""How long a builder may take to notice that it is cancelled, before its process is killed."""
_NICE: Final = 10


def build_apart(
    builder: str,
    request: PlanRequest,
    *,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Built:
    """engine.plans.request.Builder's contract, by the builder of that name, "package.module:function", elsewhere."""
    command = [sys.executable, "-m", "engine.plans.apart", builder]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    except OSError as error:
        raise PlanError(
            f"plan {request.name}: no process can be started for its builder ({error})"
        ) from error
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(child, cancel or threading.Event(), ended), daemon=True)
    watch.start()
    try:
        return _talk(child, request, progress, cancel)
    finally:
        ended.set()
        watch.join()
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):
                cast(IO[bytes], pipe).close()


def _talk(
    child: subprocess.Popen[bytes],
    request: PlanRequest,
    progress: Progress | None,
    cancel: threading.Event | None,
) -> Built:
    facts = {name: value for name, value in asdict(request).items() if name not in ("graph", "base")}
    facts["graph_bytes"] = len(request.graph)
    with contextlib.suppress(OSError):  # it ended before it read everything: what it wrote says why
        _write(cast(IO[bytes], child.stdin), _REQUEST, facts, request.graph + request.base)
    while True:
        kind, facts, data = _read(cast(IO[bytes], child.stdout))
        if kind == _TOLD and progress is not None:
            progress(str(facts["phase"]), int(facts["step"]), int(facts["steps"]))
        elif kind == _BUILT:
            size = facts.pop("plan_bytes")
            return Built(data[:size], **{**facts, "log": tuple(facts["log"])}, probe=data[size:])
        elif kind == _FAILED:
            raise (PlanCancelled if facts["cancelled"] else PlanError)(facts["message"])
        elif kind == b"":
            if cancel is not None and cancel.is_set():
                raise PlanCancelled(f"plan {request.name}: its build was ended")
            status = child.wait()
            why = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            raise PlanError(f"plan {request.name}: its builder {why}; run: marotte doctor")


def _watch(child: subprocess.Popen[bytes], cancel: threading.Event, ended: threading.Event) -> None:
    """Ends the builder when it is to be ended: first by a word, then by force."""
    while not ended.is_set() and not cancel.wait(_POLL_S):
        pass
    with contextlib.suppress(OSError):
        cast(IO[bytes], child.stdin).close()
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _write(stream: IO[bytes], kind: bytes, facts: Mapping[str, Any], data: bytes = b"") -> None:
    text = json.dumps(facts).encode()
    stream.write(_HEAD.pack(kind, len(text), len(data)))
    stream.write(text)
    stream.write(data)
    stream.flush()


def _read(stream: IO[bytes]) -> tuple[bytes, dict[str, Any], bytes]:
    """The next message; the letter is empty where there is none any more."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return b"", {}, b""
    kind, length, size = _HEAD.unpack(head)
    text, data = stream.read(length), stream.read(size)
    if len(text) < length or len(data) < size:
        return b"", {}, b""
    return kind, json.loads(text), data


def _serve(name: str) -> None:
    """The child's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent hears the interruption, and ends it by a word
    if sys.platform != "win32":
        os.nice(_NICE)  # it has time, the frames have not
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is not to stand between the answers
    kind, facts, data = _read(sys.stdin.buffer)
    if kind != _REQUEST:
        return
    cancel, writing = threading.Event(), threading.Lock()
    threading.Thread(target=_end_with_input, args=(cancel,), daemon=True).start()

    def told(phase: str, step: int, steps: int) -> None:
        with writing, contextlib.suppress(OSError):
            _write(answers, _TOLD, {"phase": phase, "step": step, "steps": steps})

    try:
        size, batches = facts.pop("graph_bytes"), tuple(facts.pop("batches"))
        request = PlanRequest(data[:size], **facts, batches=batches, base=data[size:])
        built = _builder(name)(request, progress=told, cancel=cancel)
        answer: tuple[bytes, dict[str, Any], bytes] = (
            _BUILT,
            {
                "versions": dict(built.versions),
                "log": list(built.log),
                "structure": built.structure,
                "refitted": built.refitted,
                "plan_bytes": len(built.plan),
            },
            built.plan + built.probe,
        )
    except Exception as error:  # the parent raises it again, as an error of its own kind
        words = str(error) if isinstance(error, MarotteError) else f"{type(error).__name__}: {error}"
        line = " ".join(words.split())
        answer = _FAILED, {"cancelled": isinstance(error, PlanCancelled), "message": line}, b""
    with writing, contextlib.suppress(OSError):
        _write(answers, *answer)


def _builder(name: str) -> Builder:
    module, _, function = name.partition(":")
    try:
        return cast(Builder, getattr(importlib.import_module(module), function))
    except (ImportError, AttributeError, ValueError) as error:
        raise PlanError(f"the builder {name!r} cannot be used ({error}); install Marotte again") from error


def _end_with_input(cancel: threading.Event) -> None:
    while os.read(0, 1):  # not by Python's buffer, whose lock would still be held at the end
        pass
    cancel.set()


if __name__ == "__main__":
    _serve(sys.argv[1])
