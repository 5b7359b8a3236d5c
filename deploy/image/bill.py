"""What an image is made of: `sbom.cdx.json` (CycloneDX 1.6) and `licences.md`, for those who must know before it is let in.

Python packages are told by cyclonedx-py from the environment itself, with their licences; to these are added the
Debian packages of the base image, as dpkg records them, and the models, with the hash of their manifests. The result is
checked against CycloneDX's own schema; a document that breaks it is not written.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

Component = dict[str, Any]


def python_packages(environment: Path) -> dict[str, Any]:
    """The document that cyclonedx-py makes of an environment."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--sv", "1.6", "--of", "JSON"]
    done = subprocess.run([*command, str(environment / "bin" / "python")], check=True, capture_output=True, text=True)  # noqa: S603 - our own words
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def debian_packages(status: str) -> Iterator[Component]:
    """The installed packages of a dpkg status file."""
    for paragraph in status.split("\n\n"):
        lines = (line.partition(": ") for line in paragraph.splitlines() if not line.startswith(" "))
        told = {name: value for name, _, value in lines}
        if told.get("Status") == "install ok installed":
            name, version, architecture = told["Package"], told["Version"], told["Architecture"]
            purl = f"pkg:deb/debian/{name}@{version.replace(':', '%3A').replace('+', '%2B')}?arch={architecture}"
            yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def models(store: Path) -> Iterator[Component]:
    """The bundles of a store."""
    for manifest in sorted(store.glob("*/*/bundle.json")):
        told = json.loads(manifest.read_text(encoding="utf-8"))
        digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
        name, version = str(told["name"]), str(told["version"])
        reference = f"model:{name}:{version}"
        yield {
            "type": "machine-learning-model",
            "bom-ref": reference,
            "name": name,
            "version": version,
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }


def licences(component: Component) -> str:
    """A component's licences in a few words; a whole text is not repeated."""
    told: list[str] = []
    for choice in component.get("licenses", []):
        licence = choice.get("license", {})
        named = choice.get("expression") or licence.get("id") or licence.get("name", "")
        told += [named.strip().splitlines()[0][:80]] if named.strip() else []
    return ", ".join(dict.fromkeys(told)) or "see the package"


def table(components: list[Component]) -> str:
    """The list of licences, as Markdown."""
    python = [each for each in components if each.get("purl", "").startswith("pkg:pypi/")]
    rows = [f"| {each['name']} | {each.get('version', '')} | {licences(each)} |" for each in python]
    return "\n".join(
        [
            "# Licences\n",
            "Python packages of this image, as each one tells; the texts lie beside them in the environment. Licences of",
            "Debian's packages: /usr/share/doc/*/copyright.\n",
            "| package | version | licence |\n|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> int:
    """Write both files; 1 if the document breaks the schema."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("environment", "dpkg", "store", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    document = python_packages(options.environment)
    document["components"] += [*debian_packages(options.dpkg.read_text(encoding="utf-8")), *models(options.store)]
    text = json.dumps(document, indent=1, ensure_ascii=False)
    if broken := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        print(f"the bill of materials breaks CycloneDX 1.6: {broken}", file=sys.stderr)  # noqa: T201 - a build step tells
        return 1
    options.output.mkdir(parents=True)
    (options.output / "sbom.cdx.json").write_text(text + "\n", encoding="utf-8")
    (options.output / "licences.md").write_text(table(document["components"]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
