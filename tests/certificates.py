"""Certificates for tests, made by openssl (a Debian package; tests that need it skip without it)."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certify(path: Path, subject: str, *, authority: Path | None = None, name: str | None = None) -> None:
    """Write `path`.crt and `path`.key: a certificate of an authority or of itself, with a host's name if one is given."""
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", subject]
    files = ["-keyout", f"{path}.key", "-out", f"{path}.crt"]
    of = [] if authority is None else ["-CA", f"{authority}.crt", "-CAkey", f"{authority}.key"]
    host = [] if name is None else ["-addext", f"subjectAltName={name}"]
    subprocess.run(["openssl", "req", "-x509", *made, *files, *of, *host], check=True, capture_output=True)
