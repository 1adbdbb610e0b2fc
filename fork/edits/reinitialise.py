"""Commit three: `equinox.nn.reinitialise`."""

from fork.codemod import AppendToSection, FileEdits, InsertLines, LineEdits
from fork.edits.commit import Commit


NAMESPACE = FileEdits(
    "equinox/nn/__init__.py",
    imports=["from ._reinitialise import reinitialise as reinitialise"],
)

NAVIGATION = LineEdits(
    "mkdocs.yml",
    [InsertLines(after="- 'api/nn/inference.md'", new="- 'api/nn/reinitialise.md'")],
)

TRICKS = LineEdits(
    "docs/tricks.md",
    [
        AppendToSection(
            "## Custom parameter initialisation",
            """
Nor are any arguments needed for a large, complicated model: \
[`equinox.nn.reinitialise`][] finds its layers, and draws their parameters anew.
```python
model = eqx.nn.reinitialise(
    model, weight_init=lecun_normal, bias_init=eqx.nn.init.zeros, key=key
)
```
""",
        )
    ],
)

REINITIALISE = Commit(
    subject="Add `eqx.nn.reinitialise`, for whole models",
    body="""\
Draws the parameters of the layers in a model afresh, e.g. to set all biases to zero,
without threading an argument through the model. Compared with `tree_at` it finds all
kinds of layers, asks for each of them as the layer would, and handles those that are
stacked, wrapped or tied.

See #179, #387, #622.
""",
    new_files=[
        "docs/api/nn/reinitialise.md",
        "equinox/nn/_reinitialise.py",
        "tests/test_reinitialise.py",
    ],
    edits=[NAMESPACE, NAVIGATION, TRICKS],
)
