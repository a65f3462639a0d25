"""Known vulnerabilities of what is installed: `make audit`, by pip-audit, which asks PyPI or OSV about each version.

Nobody may be reached from where this runs; then nothing was looked at, and the line says so instead of "none found".
Status 0, 1 where something was found, or with --strict where a package was not looked at.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

_WITHIN_S = 600
_OWN = "marotte"
_SERVICES = ("pypi", "osv")


def asked(service: str) -> list[dict[str, Any]] | str:
    """What pip-audit says of each package, or why it says nothing."""
    words = ["--local", "--format", "json", "--progress-spinner", "off", "--timeout", "15"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", *words, "--vulnerability-service", service],
            capture_output=True, text=True, timeout=_WITHIN_S, check=False,
        )  # fmt: skip
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return f"no answer within {_WITHIN_S} s"
    except (ValueError, KeyError, TypeError):
        said = done.stderr.strip().splitlines()
        return said[-1][:200] if said else f"status {done.returncode}, and no word"
    return found


def told(packages: list[dict[str, Any]]) -> tuple[list[str], list[str], list[str]]:
    """Lines about vulnerabilities, names that were not looked at, names that were."""
    others = [one for one in packages if one["name"].lower() != _OWN]
    skipped = [one["name"] for one in others if "skip_reason" in one]
    looked = [one for one in others if "skip_reason" not in one]
    lines = []
    for one in looked:
        for fault in one.get("vulns", ()):
            fixed = ", ".join(fault.get("fix_versions", ())) or "no version yet"
            lines.append(f"{one['name']} {one['version']}: {fault['id']}; mended in {fixed}")
    return lines, skipped, [one["name"] for one in looked]


def main(arguments: list[str] | None = None) -> int:
    """The status."""
    parser = argparse.ArgumentParser(prog="python -m tests.audit")
    parser.add_argument("--strict", action="store_true", help="also fail where a package was not looked at")
    options = parser.parse_args(arguments)
    whys = []
    for service in _SERVICES:
        answer = asked(service)
        if isinstance(answer, str):
            whys.append(f"{service}: {answer}")
            continue
        lines, skipped, looked = told(answer)
        if not looked:
            whys.append(f"{service}: knows none of {len(skipped)} packages")
            continue
        for line in lines:
            print(f"audit: {line}")
        print(f"audit: {len(lines)} known vulnerabilities in {len(looked)} packages ({service})")
        if skipped:
            print(f"audit: not looked at: {', '.join(skipped)}")
        return 1 if lines or (skipped and options.strict) else 0
    print(f"audit: NOTHING WAS LOOKED AT, for no list of advisories answers ({'; '.join(whys)})")
    print("audit: run it where PyPI or OSV can be reached")
    return 1 if options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
