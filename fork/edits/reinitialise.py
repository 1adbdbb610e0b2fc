"""Commit three: `equinox.nn.init.reinitialise`."""

from fork.codemod import InsertLines, LineEdits
from fork.edits.commit import Commit


TRICKS = LineEdits(
    "docs/tricks.md",
    [
        InsertLines(
            after="mlp = eqx.nn.MLP(3, 3, 64, 2, weight_init=he_normal, key=key)",
            new="""
            ```

            Here is how to set all biases to zero, in a model that exists already:
            ```python
            mlp = eqx.nn.init.reinitialise(mlp, bias_init=eqx.nn.init.zeros, key=key)
            """,
        )
    ],
)

REINITIALISE = Commit(
    subject="Add `eqx.nn.init.reinitialise`, for whole models",
    body="""\
Draws the parameters of every layer in a model afresh, with `eqx.nn.init` or any other
initialisers. (Such as to set all biases to zero, which is what #387 is about.) Compared
with `tree_at` it finds all kinds of layers, knows their fans, and handles ensembles.

See #179, #387, #622.
""",
    new_files=[
        "docs/api/nn/init.md",
        "equinox/nn/_reinitialise.py",
        "equinox/nn/init.py",
        "tests/test_reinitialise.py",
    ],
    edits=[TRICKS],
)
