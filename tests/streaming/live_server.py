"""A real server as a process of its own, for tests: `python tests/streaming/live_server.py OPTIONS`.

OPTIONS is JSON: fields of ServeConfig ("worker" holds those of WorkerConfig), and two of its own:

- "tools": the dotted name of a class or factory of engine.worker.tools.Tools, "tests.streaming.faults:SlowTracker";
- "tools_with": its keyword arguments.

When it is ready it prints a line of JSON: url (with the token), token, port, pid, metrics_url. Then it reads lines:
"counts" is answered with what the network's process and its workers hold (see `counts`), "tasks" with those of its loop
alone, "stop" ends it, and so does the end of its input. What goes wrong on request is answered with {}: "step N"
moves the wall clock of the network's process by N seconds, "full" lets it write to no file any more and "free" does
again, and "stall N" keeps its loop busy for N seconds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[2])
)  # started as a file; its spawned workers look here too

from streaming.bench.server import config_of, family

POOLS = ("asyncio_", "marotte-net")


def tools_of(options: dict):
    named, arguments = options.pop("tools", None), options.pop("tools_with", {})
    if named is None:
        return None
    module, name = named.split(":")
    return getattr(import_module(module), name)(**arguments)


def counts(loop: asyncio.AbstractEventLoop | None) -> dict:
    """threads, fds and rss_mb of this process; tasks of its loop; processes below it with their pids; pooled:
    those of the threads that wait in a pool of bounded size; fds, threads and
    rss_mb of all together under "all"; shm: this user's shared-memory segments by name."""
    gc.collect()
    threads = threading.enumerate()
    one = of_process(os.getpid())
    below = [pid for pid in family(os.getpid()) if pid != os.getpid()]
    together = [one, *(found for pid in below if (found := of_process(pid)))]
    return one | {
        "tasks": None if loop is None else _tasks(loop),
        "below": below,
        "pooled": sum(thread.name.startswith(POOLS) for thread in threads),
        "all": {key: sum(found[key] for found in together) for key in one},
        "shm": sorted(path.name for path in Path("/dev/shm").iterdir()),
    }


def _tasks(loop: asyncio.AbstractEventLoop) -> int | None:
    async def count() -> int:
        return len(asyncio.all_tasks()) - 1

    return asyncio.run_coroutine_threadsafe(count(), loop).result(5)


def of_process(pid: int) -> dict:
    """threads, fds and rss_mb. Empty for a process that has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        fds = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return {}
    field = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if len(line.split()) > 1}
    if "VmRSS" not in field:
        return {}
    return {"threads": int(field["Threads"]), "fds": fds, "rss_mb": int(field["VmRSS"]) / 1024}


def main() -> None:
    from streaming.serve import Served, serve  # not above: a spawned worker imports this file too

    options = json.loads(sys.argv[1])
    tools = tools_of(options)

    def ready(served: Served) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        about = {"url": served.url, "token": served.token, "port": served.port, "pid": os.getpid()}
        say(about | {"metrics_url": served.metrics_url})
        threading.Thread(target=answer, args=(served, loop), daemon=True, name="answers").start()

    def answer(served: Served, loop: asyncio.AbstractEventLoop | None) -> None:
        for line in sys.stdin:
            if line.strip() == "counts":
                say(counts(loop))
            elif line.strip() == "tasks":
                say({"tasks": None if loop is None else _tasks(loop)})
            elif line.strip() == "stop":
                break
            elif goes_wrong(line.split(), loop):
                say({})
        served.stop()

    serve(config_of(options), tools=tools, ready=ready)


def goes_wrong(words: list[str], loop: asyncio.AbstractEventLoop | None) -> bool:
    """Whether a line asked for it."""
    if words[:1] == ["step"]:
        step_s, read = float(words[1]), time.time
        time.time = lambda: read() + step_s
    elif words[:1] == ["stall"] and loop is not None:
        loop.call_soon_threadsafe(time.sleep, float(words[1]))
    elif words and words[0] in ("full", "free"):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0 if words[0] == "full" else most, most))
    else:
        return False
    return True


def say(content: dict) -> None:
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    main()
