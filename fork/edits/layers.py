"""Commit one: `equinox.nn.init`, and the layers that are linear maps."""

from fork.codemod import (
    AddLambdaParameter,
    AddParameters,
    Document,
    Drop,
    DropLines,
    Edit,
    FileEdits,
    Forward,
    InsertAfter,
    InsertLines,
    LineEdits,
    Replace,
    ReplaceSection,
)
from fork.edits.commit import Commit


def add_parameters(annotation: str, before: str | None = "key") -> AddParameters:
    names = ("weight_init", "bias_init")
    return AddParameters([f"{name}: {annotation} = None" for name in names], before)


NAMESPACE = FileEdits("equinox/nn/__init__.py", imports=["from . import init as init"])

LINEAR = FileEdits(
    "equinox/nn/_linear.py",
    imports=["from ._initialise import init_bias, init_weight, Initializer"],
    edits=[
        Edit(
            "Linear",
            [
                add_parameters("Initializer | None"),
                Document("""
- `weight_init`: The initialiser for the weight, which is called as
    `weight_init(key, shape, dtype)`. For example `eqx.nn.init.he_normal()`.
    Defaults to [`equinox.nn.init.fan_in_uniform`][]. (Keyword only argument.)
- `bias_init`: As `weight_init`, for the bias if there is one. (Keyword only
    argument.)
"""),
                Drop(
                    [
                        "if in_features_ == 0:",
                        "lim = 1.0",
                        "else:",
                        "lim = 1 / math.sqrt(in_features_)",
                    ]
                ),
                Replace(
                    "default_init(wkey, wshape, dtype, lim)",
                    "init_weight(weight_init, wkey, wshape, dtype)",
                ),
                Replace(
                    "default_init(bkey, bshape, dtype, lim)",
                    "init_bias(bias_init, bkey, bshape, dtype, wshape)",
                ),
            ],
        ),
    ],
)


def convolution(class_name: str, weight_arguments: str) -> Edit:
    return Edit(
        class_name,
        [
            add_parameters("Initializer | None"),
            Document("""
- `weight_init`: As [`equinox.nn.Linear`][], for a weight of shape
    `(out_channels, in_channels // groups, *kernel_size)`. (Keyword only
    argument.)
- `bias_init`: As `weight_init`, for the bias if there is one. (Keyword only
    argument.)
"""),
            Drop(["lim = 1 / math.sqrt(grouped_in_channels * math.prod(kernel_size))"]),
            Replace(
                "default_init(wkey, wshape, dtype, lim)",
                f"init_weight(weight_init, wkey, wshape, dtype, {weight_arguments})",
            ),
            Replace(
                "default_init(bkey, bshape, dtype, lim)",
                "init_bias(bias_init, bkey, bshape, dtype, wshape, groups)",
            ),
        ],
    )


def convolution_of_fixed_rank(class_name: str) -> Edit:
    pass_on = Forward(
        "super().__init__()", ["weight_init=weight_init", "bias_init=bias_init"]
    )
    return Edit(class_name, [add_parameters("Initializer | None"), pass_on])


CONV = FileEdits(
    "equinox/nn/_conv.py",
    imports=["from ._initialise import init_bias, init_weight, Initializer"],
    edits=[
        convolution("Conv", "groups"),
        convolution_of_fixed_rank("Conv1d"),
        convolution_of_fixed_rank("Conv2d"),
        convolution_of_fixed_rank("Conv3d"),
        convolution("ConvTranspose", "groups, is_transposed=True"),
        convolution_of_fixed_rank("ConvTranspose1d"),
        convolution_of_fixed_rank("ConvTranspose2d"),
        convolution_of_fixed_rank("ConvTranspose3d"),
    ],
)

MLP = FileEdits(
    "equinox/nn/_mlp.py",
    imports=[
        "from collections.abc import Sequence",
        "from ._initialise import Initializer, per_layer",
    ],
    edits=[
        Edit(
            "MLP",
            [
                add_parameters("Initializer | Sequence[Initializer | None] | None"),
                Document("""
- `weight_init`: As [`equinox.nn.Linear`][], for the weight of every layer. Can
    also be a sequence of length `depth + 1`, starting with the input layer, in
    which `None` is the default. (If `scan=True` then those for the hidden
    layers must be equal, and are vmap'd.) (Keyword only argument.)
- `bias_init`: As `weight_init`, for the biases. (Keyword only argument.)
"""),
                InsertAfter(
                    ["keys = jrandom.split(key, depth + 1)"],
                    "inits = per_layer(weight_init, bias_init, depth, scan)",
                ),
                Forward("Linear(in_size, out_size)", ["**inits[0]"]),
                Forward("Linear(in_size, width_size)", ["**inits[0]"]),
                Forward("Linear(width_size, width_size)", ["**inits[i]"]),
                AddLambdaParameter("make_hidden_layer", "i=1"),
                Replace("make_hidden_layer(keys[i])", "make_hidden_layer(keys[i], i)"),
                Forward("Linear(width_size, out_size)", ["**inits[-1]"]),
            ],
        ),
    ],
)

ATTENTION = FileEdits(
    "equinox/nn/_attention.py",
    imports=[
        "from collections.abc import Mapping",
        "from ._initialise import Initializer, per_name",
    ],
    edits=[
        Edit(
            "MultiheadAttention",
            [
                add_parameters("Initializer | Mapping[str, Initializer | None] | None"),
                Document("""
- `weight_init`: As [`equinox.nn.Linear`][], for the weights of all four
    projections. Can also be a dictionary with any of the keys `"query"`,
    `"key"`, `"value"` and `"output"`; a missing key is the default, as is
    `None`. (Keyword only argument.)
- `bias_init`: As `weight_init`, for the biases of those that have one. (Keyword
    only argument.)
"""),
                InsertAfter(
                    ["qkey, kkey, vkey, okey = jrandom.split(key, 4)"],
                    """
                    names = ("query", "key", "value", "output")
                    inits = per_name(weight_init, bias_init, names)
                    """,
                ),
                Forward(
                    "Linear(query_size, num_heads * qk_size)", ['**inits["query"]']
                ),
                Forward("Linear(key_size, num_heads * qk_size)", ['**inits["key"]']),
                Forward(
                    "Linear(value_size, num_heads * vo_size)", ['**inits["value"]']
                ),
                Forward(
                    "Linear(num_heads * vo_size, output_size)", ['**inits["output"]']
                ),
            ],
        ),
    ],
)

NAVIGATION = LineEdits(
    "mkdocs.yml",
    [InsertLines(after="- 'api/nn/stateful.md'", new="- 'api/nn/init.md'")],
)

TRICKS = LineEdits(
    "docs/tricks.md",
    [
        ReplaceSection(
            "## Custom parameter initialisation",
            """
Layers such as [`equinox.nn.Linear`][] take a `weight_init` and a `bias_init` \
argument. These are initialisers from `equinox.nn.init`, or any other function \
`init(key, shape, dtype)`. For example:
```python
he_normal = eqx.nn.init.he_normal()
mlp = eqx.nn.MLP(3, 3, 64, 2, weight_init=he_normal, key=key)
```

Anything else can be done by model surgery, as above, on a model that has been made \
already. For example, here is how to make the weight of each of its linear layers \
lower triangular:
```python
def get_weights(model):
    is_leaf = lambda node: isinstance(node, eqx.nn.Linear)
    nodes = jax.tree_util.tree_leaves(model, is_leaf=is_leaf)
    return [node.weight for node in nodes if is_leaf(node)]

mlp = eqx.tree_at(get_weights, mlp, replace_fn=jnp.tril)
```
""",
        )
    ],
)

# What later commits add to the new files of this one.
PAGE = LineEdits(
    "docs/api/nn/init.md",
    [
        DropLines("Recurrent layers draw each gate", before="A whole model can be"),
        DropLines("A whole model can be", before="An initialiser made here"),
        DropLines("## Whole models", before="## Constants"),
    ],
)
EXPORTS = LineEdits(
    "equinox/nn/init.py",
    [
        DropLines("from ._reinitialise import", before="__all__ = ["),
        DropLines('"reinitialise",', before='"sparse",'),
    ],
)

LAYERS = Commit(
    subject="Add `eqx.nn.init`, and `weight_init` and `bias_init` to layers",
    body="""\
Adds a namespace of initialisers, and lets the layers that are linear maps take one for
their weight and one for their bias: `Linear`, `Conv*`, `ConvTranspose*`, `MLP` and
`MultiheadAttention`. An initialiser is any callable `init(key, shape, dtype)`. The
default draws the same values as before. (A convolution of which each output has no
inputs can now be made, as `Linear` already could; it used to divide by zero.)

See #179, #387, #622.
""",
    new_files=[
        "docs/api/nn/init.md",
        "equinox/nn/_initialise.py",
        "equinox/nn/init.py",
        "tests/test_init.py",
    ],
    edits=[
        NAMESPACE,
        LINEAR,
        CONV,
        MLP,
        ATTENTION,
        NAVIGATION,
        TRICKS,
        PAGE,
        EXPORTS,
    ],
)
