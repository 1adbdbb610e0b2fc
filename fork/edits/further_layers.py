"""Commit two: recurrent cells, embeddings, and normalisation."""

from collections.abc import Sequence

from fork.codemod import (
    AddParameters,
    Document,
    Edit,
    FileEdits,
    InsertAfter,
    Operation,
    Replace,
    ReplaceStatement,
)
from fork.edits.commit import Commit
from fork.edits.layers import add_parameters


def cell(class_name: str, gates: Sequence[str], keys: str, *biases: Replace) -> Edit:
    names = ", ".join(f'"{name}"' for name in gates)
    num_gates = 3 if class_name == "GRUCell" else 4

    def weight(name: str) -> Replace:
        draw = f"{name}key, {name}shape, dtype, lim"
        new = f'init_weight(weights["{name}"], {draw}, {num_gates})'
        return Replace(f"default_init({draw})", new)

    return Edit(
        class_name,
        [
            AddParameters(
                [
                    'weight_init: PerName[Literal["ih", "hh"]] = None',
                    f"bias_init: PerName[Literal[{names}]] = None",
                ]
            ),
            Document(f"""
- `weight_init`: As [`equinox.nn.Linear`][]. Called once per gate, with the
    shapes `(input_size, hidden_size)` and `(hidden_size, hidden_size)`. Can
    also be a dictionary with any of the keys `"ih"` and `"hh"`. Defaults to
    uniform on plus-minus `1 / sqrt(hidden_size)`. (Keyword only argument.)
- `bias_init`: As `weight_init`, with the shape `(hidden_size,)`. The keys of a
    dictionary are {names}. (Keyword only
    argument.)
"""),
            InsertAfter(
                [f"{keys} = jrandom.split(key, {keys.count(',') + 1})"],
                f"""
                gates = ({names})
                weights, biases = per_gate(weight_init, bias_init, gates, use_bias)
                """,
            ),
            weight("ih"),
            weight("hh"),
            *biases,
        ],
    )


RNN = FileEdits(
    "equinox/nn/_rnn.py",
    imports=[
        "from typing import Literal",
        "from ._initialise import init_weight, PerName",
        "from ._initialise_further import init_gates, per_gate",
    ],
    edits=[
        cell(
            "GRUCell",
            ("reset", "update", "new", "new_hidden"),
            "ihkey, hhkey, bkey, bkey2",
            Replace(
                "default_init(bkey, (3 * hidden_size,), dtype, lim)",
                "init_gates(biases[:3], bkey, (3 * hidden_size,), dtype, lim)",
            ),
            Replace(
                "default_init(bkey2, (hidden_size,), dtype, lim)",
                "init_gates(biases[3:], bkey2, (hidden_size,), dtype, lim)",
            ),
        ),
        cell(
            "LSTMCell",
            ("input", "forget", "cell", "output"),
            "ihkey, hhkey, bkey",
            Replace(
                "default_init(bkey, bshape, dtype, lim)",
                "init_gates(biases, bkey, bshape, dtype, lim)",
            ),
        ),
    ],
)

table = "(num_embeddings, embedding_size)"

EMBEDDING = FileEdits(
    "equinox/nn/_embedding.py",
    imports=[
        "from ._initialise import Initializer",
        "from ._initialise_further import init_table",
    ],
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
                Replace(
                    f"jrandom.normal(key, {table}, dtype=dtype)",
                    f"init_table(weight_init, key, {table}, dtype)",
                ),
            ],
        ),
    ],
)


def normalisation(class_name: str, shape: str, *operations: Operation) -> Edit:
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
            *operations,
        ],
    )


def scale_and_shift(shape: str, use_weight: str, use_bias: str) -> list[Operation]:
    return [
        Replace(
            f"jnp.ones({shape}, dtype=dtype) if {use_weight} else None",
            f"init_scale(weight_init, key, {shape}, dtype, {use_weight})",
        ),
        Replace(
            f"jnp.zeros({shape}, dtype=dtype) if {use_bias} else None",
            f"init_shift(bias_init, key, {shape}, dtype, {use_bias})",
        ),
    ]


uses = ("use_weight", "use_bias")
affine = ("channelwise_affine", "channelwise_affine")

NORMALISATION = FileEdits(
    "equinox/nn/_normalisation.py",
    imports=[
        "from ._initialise import Initializer",
        "from ._initialise_further import init_scale, init_shift",
    ],
    edits=[
        normalisation("LayerNorm", "shape", *scale_and_shift("shape", *uses)),
        normalisation(
            "GroupNorm", "(channels,)", *scale_and_shift("channels", *affine)
        ),
        normalisation("RMSNorm", "shape", *scale_and_shift("shape", *uses)),
    ],
)

BATCH_NORM = FileEdits(
    "equinox/nn/_batch_norm.py",
    imports=[
        "from ._initialise import Initializer",
        "from ._initialise_further import init_scale, init_shift",
    ],
    edits=[
        normalisation(
            "BatchNorm",
            "(input_size,)",
            ReplaceStatement(
                [
                    "if channelwise_affine:",
                    "self.weight = jnp.ones((input_size,), dtype=dtype)",
                    "self.bias = jnp.zeros((input_size,), dtype=dtype)",
                    "else:",
                    "self.weight = None",
                    "self.bias = None",
                ],
                """
                args = (key, (input_size,), dtype, channelwise_affine)
                self.weight = init_scale(weight_init, *args)
                self.bias = init_shift(bias_init, *args)
                """,
            ),
        )
    ],
)

FURTHER_LAYERS = Commit(
    subject="Add `weight_init` and `bias_init` to recurrent, embedding and norm layers",
    body="""\
Recurrent cells call an initialiser once per gate, so that it sees the shape of a single
gate: with the gates packed, Glorot's scale is off by a factor of up to 0.71, and
"orthogonal" recurrent weights are not orthogonal. Both arguments can be given by name,
e.g. `bias_init={"forget": eqx.nn.init.ones}`.

Normalisation layers gain a `key`, for the initialisers that need one. Without an
initialiser, nothing changes.

See #179, #387, #622.
""",
    new_files=[
        "equinox/nn/_initialise_further.py",
        "tests/test_init_further_layers.py",
    ],
    edits=[RNN, EMBEDDING, NORMALISATION, BATCH_NORM],
)
