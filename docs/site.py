"""What the documentation site needs beyond MkDocs: pictures, formulae, references."""

import json
import re
from html import unescape
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import griffe
from docs.pictures import GREY
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


ROOT = Path(__file__).resolve().parent.parent
# Documents outside of `docs/` that are pages as well.
DOCUMENTS = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
# Pages of upstream's documentation, and what is referred to there.
UPSTREAM = "https://docs.kidger.site/equinox/"
REFERENCES = {
    "module/module": ["Module"],
    "transformations": ["filter_vmap", "filter_eval_shape"],
    "manipulation": ["tree_at"],
    "nn/attention": ["nn.MultiheadAttention.__call__"],
    "nn/inference": ["nn.inference_mode"],
    "nn/normalisation": ["nn.SpectralNorm", "nn.WeightNorm", "nn.BatchNorm.__call__"],
    "nn/shared": ["nn.Shared"],
    "nn/stateful": ["nn.State", "nn.StateIndex"],
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds these documents, and a copy of MathJax, so that pages need no network."""
    for page, document in DOCUMENTS.items():
        path = str(ROOT / document)
        files.append(File.generated(config, page, abs_src_path=path))
    name = "sphinx-mathjax-offline/static/mathjax/tex-svg.js"
    path = str(distribution("sphinx-mathjax-offline").locate_file(name))
    files.append(File.generated(config, "_static/tex-svg.js", abs_src_path=path))
    return files


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Points links between these documents and `docs/` to the pages."""
    for page, document in DOCUMENTS.items():
        markdown = re.sub(rf"\]\((\.\./)?{document}", f"]({page}", markdown)
    return markdown.replace("](docs/", "](")


def on_nav(nav: Any, config: MkDocsConfig, files: Files) -> None:
    """Makes known where upstream documents what is not documented here."""
    for page, names in REFERENCES.items():
        for name in names:
            url = f"{UPSTREAM}api/{page}/#equinox.{name}"
            config.plugins["autorefs"].register_url(f"equinox.{name}", url)  # pyright: ignore


def on_page_content(html: str, **kwargs: Any) -> str:
    """Makes pictures part of a page, so that they have its colours and its font."""
    pattern = r'<p><img alt="([^"]*)" src="(?:\.\./)*pictures/(\w+)\.svg" ?/?></p>'

    def inline(match: re.Match) -> str:
        svg = (ROOT / "docs" / "pictures" / f"{match[2]}.svg").read_text("utf-8")
        svg = svg[svg.index("<svg") :].replace(GREY, "currentColor")
        svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
        svg = re.sub(r'<g id="[^"]*"', "<g", svg)
        svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
        root = f'<svg role="img" aria-label="{match[1]}"'
        return f'<figure class="plot">{svg.replace("<svg", root, 1)}</figure>'

    html = re.sub(pattern, inline, html)
    assert "pictures/" not in re.sub(r"<code>.*?</code>", "", html)
    return html


def on_post_build(config: MkDocsConfig) -> None:
    """Lets the search find British words by their American spelling, and a page that
    was opened as a file load its index."""
    path = Path(config.site_dir) / "search" / "search_index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    for section in index["docs"]:
        british = r"\w+(?:al|im|or)is(?:a|e|ing)\w*"
        words = {
            re.sub(r"is(e|a|ing)", r"iz\1", word)
            for word in re.findall(
                british, unescape(section["text"] + section["title"])
            )
        }
        section["text"] += f"<p>{' '.join(sorted(words))}</p>" if words else ""
    text = json.dumps(index)
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".js").write_text(f"var __index = {text}", encoding="utf-8")


class UpstreamLinks(griffe.Extension):
    """Turns links from the docstrings of upstream to its pages into full ones."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = re.sub(
                r"(?:\.\./)+(\S+)\.ipynb", rf"{UPSTREAM}\1/", text
            )
