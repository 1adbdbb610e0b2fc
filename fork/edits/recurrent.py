"""Commit two: recurrent cells."""

from collections.abc import Sequence

from fork.codemod import AddParameters, Document, Edit, FileEdits, InsertAfter, Replace
from fork.edits.commit import Commit


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
                weights = by_name(weight_init, ("ih", "hh"), "weight_init")
                gates = ({names})
                biases = list(by_name(bias_init, gates, "bias_init").values())
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
        "from ._initialise import by_name, init_gates, init_weight, PerName",
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

RECURRENT_CELLS = Commit(
    subject="Add `weight_init` and `bias_init` to recurrent cells",
    body="""\
An initialiser is called once per gate, so that it sees the shape of a single gate. With
the gates packed, Glorot's scheme scales the gates by up to 0.71, and "orthogonal"
recurrent weights are not orthogonal. Both arguments can be given by name, e.g.
`bias_init={"forget": eqx.nn.init.ones}`. Existing code is unaffected.

See #179, #387, #622.
""",
    new_files=["tests/test_init_rnn.py"],
    adds={"equinox/nn/_initialise.py": ["init_gates"]},
    edits=[RNN],
)
