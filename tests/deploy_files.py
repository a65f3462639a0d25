"""The container files read as far as is needed to hold them against the project; no container runtime is there."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from fnmatch import fnmatch
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

import marotte

PROJECT = Path(__file__).resolve().parent.parent
DEPLOY = PROJECT / "configs" / "deploy"


@dataclass
class Stage:
    """One FROM and what follows it. Each instruction is a word and the rest of its line, continuations joined."""

    base: str
    name: str
    lines: list[tuple[str, str]] = field(default_factory=list)

    def of(self, word: str) -> list[str]:
        return [rest for one, rest in self.lines if one == word]

    def last_json(self, word: str) -> list[str]:
        """The words of the last CMD or ENTRYPOINT, which has to be in the form that no shell reads."""
        found: list[str] = json.loads(self.of(word)[-1])
        return found


def stages(text: str) -> list[Stage]:
    """Of a Dockerfile, in their order."""
    bare = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", bare).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base, name.strip()))
        elif word:
            found[-1].lines.append((word, rest.strip()))
    return found


def merged(found: Sequence[Stage], name: str) -> Stage:
    """A stage with the instructions of those that it is built upon."""
    by_name = {stage.name: stage for stage in found}
    stage = by_name[name]
    below = merged(found, stage.base).lines if stage.base in by_name else []
    return Stage(stage.base, name, [*below, *stage.lines])


def environment(stage: Stage) -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in stage.of("ENV") for pair in shlex.split(rest))


def in_context(path: str, ignored: Sequence[str]) -> bool:
    """Whether .dockerignore lets a path of the project into a build: the last rule that fits decides."""
    kept = True
    for rule in ignored:
        pattern = rule.removeprefix("!")
        fits = pattern == "*" or path == pattern or path.startswith(f"{pattern}/")
        fits |= pattern.startswith("**/") and any(fnmatch(part, pattern[3:]) for part in path.split("/"))
        if fits:
            kept = rule.startswith("!")
    return kept


def ignore_rules() -> list[str]:
    lines = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def docker_faults(text: str, extras: Sequence[str]) -> list[str]:
    """What of a Dockerfile the project does not have, or what it should not do. extras: those that can be installed."""
    found, faults = stages(text), []
    names: list[str] = []
    for stage in found:
        if ":" not in stage.base and stage.base not in names:
            faults.append(f"{stage.base} is neither a stage before nor an image with a version")
        if stage.base.endswith(":latest"):
            faults.append(f"{stage.base} is another one tomorrow")
        for rest in stage.of("COPY"):
            faults += _copy_faults(rest, names)
        for rest in stage.of("RUN"):
            faults += [
                f"there is no extra {extra}"
                for group in re.findall(r'"\.\[([^\]]*)\]"', rest)
                for extra in group.split(",")
                if extra not in extras
            ]
            faults += [fault for words in commands(rest) for fault in command_faults(words)]
        names.append(stage.name)
    last = merged(found, found[-1].name)
    users = last.of("USER")
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        faults.append("it runs as root, or as a name that Kubernetes cannot tell from root")
    if not last.of("HEALTHCHECK"):
        faults.append("nothing asks for its health")
    if not last.of("ENTRYPOINT"):
        return [*faults, "nothing is started"]
    start = Path(last.last_json("ENTRYPOINT")[-1]).name
    if not (DEPLOY / start).read_text(encoding="utf-8").endswith('exec marotte "$@"\n'):
        faults.append(f"{start} does not become the command, so that SIGTERM does not reach it")
    return faults + command_faults(last.last_json("CMD"))


def _copy_faults(rest: str, names: Sequence[str]) -> Iterator[str]:
    words = [word for word in rest.split() if not word.startswith("--")]
    if source := re.search(r"--from=(\S+)", rest):
        if source[1] not in names:
            yield f"{source[1]} is no stage before"
        return
    for path in words[:-1]:
        path = path.rstrip("/")
        if not (PROJECT / path).exists():
            yield f"{path} is not there"
        elif not in_context(path, ignore_rules()):
            yield f"{path} is left out by .dockerignore"


def commands(line: str) -> list[list[str]]:
    """The arguments of each `marotte` in a line for a shell, and of each container of its images."""
    found = []
    for part in re.split(r"&&|\|\||;|\|", line):
        words = shlex.split(part, comments=True)
        if words and words[0].split("/")[-1] == "marotte":
            found.append(words[1:])
        for image in {"marotte:gpu", "marotte:cpu"} & set(words) if words[:2] == ["docker", "run"] else ():
            found.append(words[words.index(image) + 1 :] or ["serve"])
    return found


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """As the command reads them. Raises SystemExit."""
    return marotte._parser().parse_args(list(arguments))


def command_faults(arguments: Sequence[str]) -> list[str]:
    said = StringIO()
    try:
        with redirect_stderr(said):
            parsed(arguments)
    except SystemExit:
        return [said.getvalue().strip()]
    return []


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
