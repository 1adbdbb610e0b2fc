"""What the documentation site needs beyond MkDocs: figures, formulae, references."""

import io
import re
from html import escape
from importlib.metadata import distribution
from typing import Any

import griffe
import matplotlib.pyplot as plt
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


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

plt.switch_backend("svg")
plt.rcParams |= {
    "axes.grid": True,
    "axes.prop_cycle": plt.cycler(  # pyright: ignore
        # Seen on white and on black, and told apart without colours.
        color=["#7d8590", "#3b82f6", "#e4572e", "#12936b", "#a855f7"],
        linestyle=["--", "-", "-.", (0, (5, 1)), ":"],
    ),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "equinox",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a copy of MathJax, so that pages need nothing from elsewhere."""
    name = "sphinx-mathjax-offline/static/mathjax/tex-svg.js"
    path = str(distribution("sphinx-mathjax-offline").locate_file(name))
    files.append(File.generated(config, "_static/tex-svg.js", abs_src_path=path))
    return files


def on_nav(nav: Any, config: MkDocsConfig, files: Files) -> None:
    """Makes known where upstream documents what is not documented here."""
    for page, names in REFERENCES.items():
        for name in names:
            url = f"{UPSTREAM}api/{page}/#equinox.{name}"
            config.plugins["autorefs"].register_url(f"equinox.{name}", url)  # pyright: ignore


class UpstreamLinks(griffe.Extension):
    """Does the same for links from the docstrings of upstream to its pages."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = re.sub(
                r"(?:\.\./)+(\S+)\.ipynb", rf"{UPSTREAM}\1/", text
            )


def svg(figure: plt.Figure, alt: str) -> str:
    """A figure as part of a page, in the colours of the page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    plt.close(figure)
    return inline(file.getvalue(), alt)


def inline(svg: str, alt: str) -> str:
    svg = svg[svg.index("<svg") :].replace("#000000", "currentColor")
    svg = svg.replace("#ffffff", "none")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    root = f'<svg role="img" aria-label="{escape(alt)}" fill="currentColor"'
    return f'<figure class="plot">{svg.replace("<svg", root, 1)}</figure>'
