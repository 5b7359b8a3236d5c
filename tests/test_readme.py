"""The README's promises that can rot: its table of settings and its links."""

from __future__ import annotations

import re
from pathlib import Path

from drlongformer import settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table_of_settings() -> str:
    """The table as the code would write it."""
    rows = [f"| `{line.variable}` | `{line.default or 'unset'}` | {line.meaning} |" for line in settings.reference()]
    return "\n".join(["| variable | default | what it trades |", "|---|---|---|", *rows])


def test_the_table_of_settings_is_the_codes_own() -> None:
    written = re.search(r"<!-- settings.*?-->\n(.*?)\n?<!-- end of settings -->", README, re.DOTALL)
    assert written is not None
    assert written.group(1) == table_of_settings()
    assert "DRLONGFORMER_SERVER__PORT" in written.group(1)


def test_every_link_of_the_documents_leads_to_a_file() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
    links = [
        (document, target)
        for document in documents
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8"))
        if "://" not in target
    ]
    assert len(links) > 4
    assert [target for document, target in links if not (document.parent / target).exists()] == []
