"""Let links from the documents to other files of the project work in the site as in a checkout.

What a page links to beyond docs/ becomes a page too, at its path in the project: Markdown as it
is, anything else as the text that it is.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".sh": "bash", ".json": "json"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to beyond docs/, and what those pages link to in turn."""
    project = Path(config.docs_dir).parent
    waiting = [_in_project(file.src_uri) for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for link in LINK.findall((project / page).read_text("utf-8")):
            target = _target(page, link)
            if target.startswith("docs/") or files.get_file_from_path(_in_site(target)):
                continue
            content = (project / target).read_text("utf-8")
            if target.endswith(".md"):
                waiting.append(target)
            else:
                content = _as_page(target, content)
            files.append(
                File.generated(
                    config,
                    _in_site(target),
                    content=content,
                    # A page of its own may stand in the navigation; the text of a file does not.
                    inclusion=InclusionLevel.UNDEFINED
                    if target.endswith(".md")
                    else InclusionLevel.NOT_IN_NAV,
                )
            )
    return files


def on_page_markdown(markdown: str, page: Page, **event: Any) -> str:
    """Return a page whose links lead to where the site has their targets."""
    here = page.file.src_uri
    source = here if page.file.generated_by else _in_project(here)

    def moved(link: re.Match[str]) -> str:
        target = _in_site(_target(source, link[1]))
        return posixpath.relpath(target, posixpath.dirname(here) or ".")

    return LINK.sub(moved, markdown)


def _in_project(page: str) -> str:
    return f"docs/{page}"


def _in_site(target: str) -> str:
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return target if target.endswith(".md") else f"{target}.md"


def _target(page: str, link: str) -> str:
    """Return the path in the project of what a page links to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _as_page(path: str, text: str) -> str:
    language = LANGUAGES.get(posixpath.splitext(path)[1], "text")
    return f"# {path}\n\n~~~~{language}\n{text}\n~~~~\n"
