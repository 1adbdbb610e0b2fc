"""Commit two: recurrent cells, embeddings, and normalisation."""

from fork.codemod import (
    AddParameters,
    Document,
    Drop,
    DropLines,
    Edit,
    FileEdits,
    InsertAfter,
    LineEdits,
    Operation,
    Replace,
)
from fork.edits.commit import Commit
from fork.edits.layers import add_parameters


cell = [
    add_parameters("Initializer | Mapping[str, Initializer | None] | None"),
    Drop(["lim = math.sqrt(1 / hidden_size)"]),
    Replace(
        "default_init(ihkey, ihshape, dtype, lim)",
        'inits.weight("ih", ihkey, ihshape, dtype)',
    ),
    Replace(
        "default_init(hhkey, hhshape, dtype, lim)",
        'inits.weight("hh", hhkey, hhshape, dtype)',
    ),
]


RNN = FileEdits(
    "equinox/nn/_rnn.py",
    imports=[
        "from collections.abc import Mapping",
        "from ._initialise import Initializer",
        "from ._initialise_gates import GRUInits, LSTMInits",
    ],
    edits=[
        Edit(
            "GRUCell",
            [
                *cell,
                Document("""
- `weight_init`: As [`equinox.nn.Linear`][], for one gate at a time. Can also be
    a dictionary with any of the keys `"ih"` and `"hh"`. (Keyword only
    argument.)
- `bias_init`: As `weight_init`, for the biases. Can also be a dictionary with
    any of the keys `"reset"`, `"update"`, `"new"` and `"new_hidden"` (for
    `bias_n`). (Keyword only argument.)
"""),
                InsertAfter(
                    ["ihkey, hhkey, bkey, bkey2 = jrandom.split(key, 4)"],
                    "inits = GRUInits(weight_init, bias_init)",
                ),
                Replace(
                    "default_init(bkey, (3 * hidden_size,), dtype, lim)",
                    'inits.bias("bias", bkey, (3 * hidden_size,), dtype)',
                ),
                Replace(
                    "default_init(bkey2, (hidden_size,), dtype, lim)",
                    'inits.bias("bias_n", bkey2, (hidden_size,), dtype)',
                ),
            ],
        ),
        Edit(
            "LSTMCell",
            [
                *cell,
                Document("""
- `weight_init`: As [`equinox.nn.Linear`][], for one gate at a time. Can also be
    a dictionary with any of the keys `"ih"` and `"hh"`. (Keyword only
    argument.)
- `bias_init`: As `weight_init`, for the biases. Can also be a dictionary with
    any of the keys `"input"`, `"forget"`, `"cell"` and `"output"`. (Keyword
    only argument.)
"""),
                InsertAfter(
                    ["ihkey, hhkey, bkey = jrandom.split(key, 3)"],
                    "inits = LSTMInits(weight_init, bias_init)",
                ),
                Replace(
                    "default_init(bkey, bshape, dtype, lim)",
                    'inits.bias("bias", bkey, bshape, dtype)',
                ),
            ],
        ),
    ],
)

table = "(num_embeddings, embedding_size)"

EMBEDDING = FileEdits(
    "equinox/nn/_embedding.py",
    imports=[
        "from ._initialise import Initializer",
        "from ._initialise_keyless import init_embedding",
    ],
    edits=[
        Edit(
            "Embedding",
            [
                AddParameters(["weight_init: Initializer | None = None"]),
                Document("""
- `weight_init`: As [`equinox.nn.Linear`][]. Defaults to the standard normal
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
                Replace(
                    f"jrandom.normal(key, {table}, dtype=dtype)",
                    f"init_embedding(weight_init, key, {table}, dtype)",
                ),
            ],
        ),
    ],
)


normalisation_arguments = [
    add_parameters("Initializer | None", before=None),
    AddParameters(["key: PRNGKeyArray | None = None"], before=None),
    Document(
        """
- `weight_init`: As [`equinox.nn.Linear`][], but not one for matrices,
    or by `fan_in` or `fan_out`. Defaults to ones. (Keyword only argument.)
- `bias_init`: As `weight_init`. Defaults to zeros. (Keyword only argument.)
- `key`: Only needed for initialisers that use it. (Keyword only argument.)
""",
        before=None,
    ),
]


def normalisation(class_name: str, shape: str) -> Edit:
    return Edit(
        class_name,
        [
            *normalisation_arguments,
            Replace(
                f"jnp.ones({shape}, dtype=dtype)",
                f"init_scale(weight_init, key, {shape}, dtype)",
            ),
            Replace(
                f"jnp.zeros({shape}, dtype=dtype)",
                f"init_shift(bias_init, key, {shape}, dtype)",
            ),
        ],
    )


def replace_statement(old: str, new: str) -> list[Operation]:
    return [InsertAfter([old], new), Drop([old])]


NORMALISATION = FileEdits(
    "equinox/nn/_normalisation.py",
    imports=[
        "from ._initialise import Initializer",
        "from ._initialise_keyless import init_scale, init_shift",
    ],
    edits=[
        normalisation("LayerNorm", "shape"),
        normalisation("GroupNorm", "channels"),
        normalisation("RMSNorm", "shape"),
    ],
)

BATCH_NORM = FileEdits(
    "equinox/nn/_batch_norm.py",
    imports=[
        "from ._initialise import Initializer",
        "from ._initialise_keyless import init_scale, init_shift",
    ],
    edits=[
        Edit(
            "BatchNorm",
            [
                *normalisation_arguments,
                *replace_statement(
                    "self.weight = jnp.ones((input_size,), dtype=dtype)",
                    "self.weight = init_scale(weight_init, key, input_size, dtype)",
                ),
                *replace_statement(
                    "self.bias = jnp.zeros((input_size,), dtype=dtype)",
                    "self.bias = init_shift(bias_init, key, input_size, dtype)",
                ),
            ],
        )
    ],
)

# What the next commit adds.
PAGE = LineEdits(
    "docs/api/nn/init.md",
    [
        DropLines("A whole model can be", before="An initialiser made here"),
        DropLines("## Whole models", before="## Constants"),
    ],
)

FURTHER_LAYERS = Commit(
    subject="Add `weight_init` and `bias_init` to recurrent, embedding and norm layers",
    body="""\
Recurrent cells draw each of their gates separately, so that an initialiser sees the
shape and the fans of a single gate: with the gates packed, Glorot's scale is off by a
factor of up to 0.71, and "orthogonal" recurrent weights are not orthogonal. Both
arguments can be given by name, e.g. `bias_init={"forget": eqx.nn.init.ones}`.

Normalisation layers gain a `key`, for the initialisers that need one. The default draws
the same values as before. (Recurrent cells without any hidden units can now be made; it
used to divide by zero.)

See #179, #387, #622.
""",
    new_files=[
        "docs/api/nn/init.md",
        "equinox/nn/_initialise_gates.py",
        "equinox/nn/_initialise_keyless.py",
        "tests/test_init_further_layers.py",
    ],
    edits=[RNN, EMBEDDING, NORMALISATION, BATCH_NORM, PAGE],
)
