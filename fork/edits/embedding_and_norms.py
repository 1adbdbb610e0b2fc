"""Commit three: embeddings, and normalisation layers."""

from collections.abc import Sequence

from fork.codemod import (
    AddParameters,
    Document,
    Edit,
    FileEdits,
    InsertAfter,
    Replace,
    ReplaceStatement,
)
from fork.edits.commit import Commit
from fork.edits.linear import add_parameters


DRAW = """
shape = (num_embeddings, embedding_size)
if weight_init is None:
    self.weight = jrandom.normal(key, shape, dtype)  # pyright: ignore
else:
    self.weight = draw(weight_init, key, shape, dtype, name="weight_init")
"""

EMBEDDING = FileEdits(
    "equinox/nn/_embedding.py",
    imports=["from ._initialise import draw, Initializer"],
    edits=[
        Edit(
            "Embedding",
            [
                AddParameters(["weight_init: Initializer | None = None"]),
                Document("""
- `weight_init`: As [`equinox.nn.Linear`][], for the shape
    `(num_embeddings, embedding_size)`. Defaults to the standard normal
    distribution. (Keyword only argument.)
"""),
                InsertAfter(
                    ["dtype = default_floating_dtype() if dtype is None else dtype"],
                    """
                    if weight is not None and weight_init is not None:
                        raise ValueError("Cannot use both `weight` and `weight_init`.")
                    """,
                ),
                Replace("key is None", "(key is None and weight_init is None)"),
                ReplaceStatement(
                    [
                        "self.weight = jrandom.normal("
                        "key, (num_embeddings, embedding_size), dtype=dtype)"
                    ],
                    DRAW,
                ),
            ],
        ),
    ],
)


def normalisation(class_name: str, shape: str, after: Sequence[str]) -> Edit:
    return Edit(
        class_name,
        [
            add_parameters("Initializer | None", before=None),
            AddParameters(["key: PRNGKeyArray | None = None"], before=None),
            Document(
                f"""
- `weight_init`: As [`equinox.nn.Linear`][], with shape `{shape}`.
    Defaults to ones. (Keyword only argument.)
- `bias_init`: As `weight_init`, but defaults to zeros. (Keyword only argument.)
- `key`: Only needed if an initialiser is random. (Keyword only argument.)
""",
                before=None,
            ),
            InsertAfter(
                after,
                """
                if weight_init is not None or bias_init is not None:
                    self.weight, self.bias = init_affine(
                        weight_init, bias_init, key, self.weight, self.bias
                    )
                """,
            ),
        ],
    )


NORMALISATION = FileEdits(
    "equinox/nn/_normalisation.py",
    imports=["from ._initialise import init_affine, Initializer"],
    edits=[
        normalisation(
            "LayerNorm",
            "shape",
            ["self.bias = jnp.zeros(shape, dtype=dtype) if use_bias else None"],
        ),
        normalisation(
            "GroupNorm",
            "(channels,)",
            [
                "self.bias = "
                "jnp.zeros(channels, dtype=dtype) if channelwise_affine else None"
            ],
        ),
        normalisation(
            "RMSNorm",
            "shape",
            ["self.bias = jnp.zeros(shape, dtype=dtype) if use_bias else None"],
        ),
    ],
)

BATCH_NORM = FileEdits(
    "equinox/nn/_batch_norm.py",
    imports=["from ._initialise import init_affine, Initializer"],
    edits=[
        normalisation(
            "BatchNorm",
            "(input_size,)",
            [
                "if channelwise_affine:",
                "self.weight = jnp.ones((input_size,), dtype=dtype)",
                "self.bias = jnp.zeros((input_size,), dtype=dtype)",
                "else:",
                "self.weight = None",
                "self.bias = None",
            ],
        )
    ],
)

EMBEDDING_AND_NORMS = Commit(
    subject="Add `weight_init` and `bias_init` to embedding and norm layers",
    body="""\
`Embedding` takes a `weight_init`. Normalisation layers take both arguments, and a `key`
for the initialisers that need one. Existing code is unaffected.

See #179, #387, #622.
""",
    new_files=["tests/test_init_norm.py"],
    adds={"equinox/nn/_initialise.py": ["init_affine"]},
    edits=[EMBEDDING, NORMALISATION, BATCH_NORM],
)
