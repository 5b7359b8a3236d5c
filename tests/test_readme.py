"""The promises of README and documents that can rot without a service: tables of settings, links, anchors, routes, verbs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from drlongformer import settings
from drlongformer.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
DOCUMENTS = [*(ROOT / name for name in OUTSIDE), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def variable(*path: str) -> str:
    return f"{settings.PREFIX}{settings.DELIMITER.join(path)}".upper()


def tables_of_settings() -> str:
    """The tables as the code would write them, a chapter for each group; `docs/settings.md` holds them."""
    flags = {variable(*field.split(".")): f"<br>`{flag}`" for field, flag in settings.FLAGS.items()}
    chapters = []
    for group, field in Settings.model_fields.items():
        intent = str(type(field.default).__doc__).replace("(docs/", "(").strip()
        rows = [
            f"| `{line.variable}`{flags.get(line.variable, '')} | `{line.default or 'unset'}` | {line.meaning} |"
            for line in settings.reference()
            if line.variable.startswith(variable(group, ""))
        ]
        table = ["| variable, flag | default | what it trades |", "|---|---|---|", *rows]
        chapters.append("\n".join([f"## {group.capitalize()}", "", intent, "", *table]))
    return "\n\n".join(chapters)


def test_the_tables_of_settings_are_the_codes_own() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    written = re.search(r"<!-- settings.*?-->\n(.*?)\n?<!-- end of settings -->", page, re.DOTALL)
    assert written is not None
    assert written.group(1) == tables_of_settings()
    assert written.group(1).count(f"\n| `{settings.PREFIX}") == len(list(settings.reference()))


def prose(document: Path) -> str:
    """A document without its blocks of code."""
    return FENCED.sub("", document.read_text(encoding="utf-8"))


def links() -> Iterator[tuple[Path, str, str]]:
    """Every link that stays in the repository: its document, the file (empty: the document), the anchor (empty: none)."""
    for document in DOCUMENTS:
        for target, anchor in LINK.findall(prose(document)):
            if "://" not in target:
                yield document, target, anchor


def anchors(document: Path) -> set[str]:
    """What a document's headings are called in an address, as GitHub does it."""
    titles = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in plain}


def test_every_link_of_the_documents_leads_to_a_file() -> None:
    found = list(links())
    assert len(found) > 100
    assert [(each.name, target) for each, target, _ in found if target and not (each.parent / target).exists()] == []


def test_every_anchor_of_a_link_is_a_heading() -> None:
    named = [(each.parent / target if target else each, anchor) for each, target, anchor in links() if anchor]
    assert len(named) > 20
    assert [(page.name, anchor) for page, anchor in named if page.suffix == ".md" and anchor not in anchors(page)] == []


def test_the_readme_names_every_route() -> None:
    routes = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))["paths"]
    assert "/ner" in routes
    assert [route for route in routes if not re.search(rf"`(GET |POST )?{re.escape(route)}`", README)] == []
