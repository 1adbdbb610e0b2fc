"""Commit four: `equinox.nn.reinitialise`."""

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
[`equinox.nn.reinitialise`][] finds its layers, and draws their parameters again.
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
Draws the parameters of the layers in a model again, e.g. to set all biases to zero,
without threading an argument through the model. A layer is anything that holds weights
or biases, and is drawn by its own constructor. So it works for anyone's layers, for
stacked layers, and for abstract ones.

See #179, #387, #622.
""",
    new_files=[
        "docs/api/nn/reinitialise.md",
        "equinox/nn/_reinitialise.py",
        "tests/test_reinitialise.py",
    ],
    edits=[NAMESPACE, NAVIGATION, TRICKS],
)
