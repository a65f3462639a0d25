"""Whether a server in this container answers: status 0, or 1 and one line. Needs nothing but Python.

python probe.py [/healthz or /readyz] [PORT]
"""

from __future__ import annotations

import http.client
import sys


def main(arguments: list[str]) -> int:
    """Ask, print the answer, and return the exit status."""
    path = arguments[0] if arguments else "/healthz"
    port = int(arguments[1]) if len(arguments) > 1 else 8765
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)  # no proxy of the environment's
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read(200).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        print(f"{path}: {error}")
        return 1
    finally:
        connection.close()
    print(text)
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
