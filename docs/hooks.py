"""Pages that stand at the top of the repository, as pages of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
_REFERENCES = re.compile(r"<p>(\.\. \[1\].*?)</p>", re.DOTALL)
# The notebook pages would load MathJax from elsewhere, and hold no formula.
_MATHJAX = re.compile(r"<script[^>]*data-mkdocs-jupyter-mathjax=.*?</script>", re.DOTALL)
_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "models/README.md": "models.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/peers.md": "peers.md",
}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages, with links that lead to other pages of the site."""
    for source, page in _PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=re.sub(r"\]\(([^)#]+)", _link, text)))
    return files


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Lay out numbered references, which are reStructuredText, as a list."""
    return _REFERENCES.sub(_list, html)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Leave out what would be fetched from elsewhere."""
    return _MATHJAX.sub("", output)


def _list(match: re.Match[str]) -> str:
    entries = re.split(r"\s*\.\. \[\d+\]\s*", match[1])[1:]
    return "<ol>" + "".join(f"<li>{entry}</li>" for entry in entries) + "</ol>"


def _link(match: re.Match[str]) -> str:
    target = match[1]
    return f"]({_PAGES.get(target, target.removeprefix('docs/'))}"
