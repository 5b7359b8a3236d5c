"""Waits until the service on this host is ready, and asks it the four tasks; for `rehearse`, by the standard library alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import time

ASKED = {
    "/fill-mask": {"inputs": "Le patient souffre d'une <mask> aiguë."},
    "/embed": {"inputs": "Toux et fièvre depuis trois jours."},
    "/ner": {"inputs": "Patient de 64 ans, douleur thoracique traitée par aspirine."},
    "/classify": {"inputs": "Ce médicament est indiqué dans l'hypertension artérielle."},
}


def ask(path: str, body: dict[str, str] | None) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    peer = http.client.HTTPConnection("127.0.0.1", 8000, timeout=60)
    sent = None if body is None else json.dumps(body)
    peer.request("GET" if body is None else "POST", path, sent, {"Content-Type": "application/json"})
    answer = peer.getresponse()
    return answer.status, answer.read()


def main() -> int:
    """Exit code 0 if all four were answered."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if ask("/readyz", None)[0] == 200:
                break
        time.sleep(0.2)
    statuses = {path: ask(path, body)[0] for path, body in ASKED.items()}
    sys.stdout.write(" ".join(f"{path} {status}" for path, status in statuses.items()) + "\n")
    return 0 if set(statuses.values()) == {200} else 1


if __name__ == "__main__":
    sys.exit(main())
