"""The bill of materials (CycloneDX 1.5) of a folder of wheels: name, version, licence and sha256 of each; standard output."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Any


def component(wheel: Path) -> dict[str, Any]:
    """One wheel."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA") and each.count("/") == 1]
        about = HeaderParser().parsestr(archive.read(name).decode())
    licence = about["License-Expression"] or (about["License"] or "").split("\n", maxsplit=1)[0]
    classified = [each.rpartition(" :: ")[2] for each in about.get_all("Classifier", []) if each.startswith("License ::")]
    return {
        "type": "library",
        "name": about["Name"],
        "version": about["Version"],
        "purl": f"pkg:pypi/{about['Name'].lower()}@{about['Version']}",
        "licenses": [{"license": {"name": each}} for each in ([licence] if licence else classified)],
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}],
    }


def bill(folder: Path) -> dict[str, Any]:
    """All wheels of a folder."""
    components = [component(wheel) for wheel in sorted(folder.glob("*.whl"))]
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}


if __name__ == "__main__":
    json.dump(bill(Path(sys.argv[1])), sys.stdout, indent=1, ensure_ascii=False)
