"""What MkDocs is told beyond mkdocs.yml: notebooks become pages, and links that leave docs/ become readable text.

On GitHub both work as they are. A site in a folder has no notebook viewer and no source tree beside it, and a viewer from a CDN
would ask the network. A new page of `benchmarks/` needs no line in mkdocs.yml: it is put under its last heading.
"""

from __future__ import annotations

import base64
import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)\s]+)\)")
FENCED = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of benchmarks/ that the navigation does not name under its last heading."""
    assert config.nav is not None
    named = json.dumps(config.nav)
    pages = sorted(path.relative_to(config.docs_dir).as_posix() for path in Path(config.docs_dir, "benchmarks").glob("*.md"))
    [(_, measured)] = config.nav[-1].items()
    measured += [page for page in pages if page not in named]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every notebook, and one for every picture in it."""
    for notebook in [each for each in files if each.src_uri.endswith(".ipynb")]:
        for path, content in pages_of(notebook.src_uri, json.loads(notebook.content_string)).items():
            files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """The page with links that leave docs/ as paths of the repository, and a notebook's as its page's; code as it is."""
    folder = posixpath.dirname(page.file.src_uri)
    parts = FENCED.split(markdown)
    return "".join(part if part.startswith("```") else told(part, folder) for part in parts)


def told(text: str, folder: str) -> str:
    """Text of a page in `folder` with its links as the site can follow them."""
    return LINK.sub(lambda link: inside_or_path(link, folder), text).replace(".ipynb)", ".md)")


def inside_or_path(link: re.Match[str], folder: str) -> str:
    """The link itself where it stays within docs/, else its words and the path in the repository."""
    words, target = link.groups()
    path = posixpath.normpath(posixpath.join("docs", folder, target))
    return link.group() if path.startswith("docs/") else f"{words} (`{path}`)"


def pages_of(path: str, notebook: dict[str, Any]) -> dict[str, str | bytes]:
    """The notebook at `path` as Markdown, and its pictures, by their paths below docs/."""
    stem = path.removesuffix(".ipynb")
    pictures: dict[str, str | bytes] = {}
    lines = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        lines.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            if printed := "".join(output.get("text", "")):
                lines.append(f"```text\n{printed}```")
            if drawn := output.get("data", {}).get("image/png"):
                name = f"{stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode("".join(drawn))
                lines.append(f"![What the cell draws]({posixpath.basename(name)})")
    return {f"{stem}.md": "\n\n".join(lines) + "\n", **pictures}
