"""Commit one: `equinox.nn.init`, and the layers that are linear maps."""

from fork.codemod import (
    AddLambdaParameter,
    AddParameters,
    AppendToSection,
    Document,
    Edit,
    FileEdits,
    Forward,
    InsertAfter,
    InsertLines,
    LineEdits,
    Replace,
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
- `weight_init`: The initialiser of the weight: a function that is called as
    `weight_init(key, (in_features, out_features), dtype)`, such as
    `eqx.nn.init.he_normal()` or `jax.nn.initializers.he_normal()`. Defaults to
    the distribution of [`equinox.nn.init.fan_in_uniform`][]. (Keyword only
    argument.)
- `bias_init`: As `weight_init`, for the bias, of shape `(out_features,)`.
    Defaults to uniform on plus-minus `1 / sqrt(in_features)`. (Keyword only
    argument.)
"""),
                Replace(
                    "default_init(wkey, wshape, dtype, lim)",
                    "init_weight(weight_init, wkey, wshape, dtype, lim)",
                ),
                Replace(
                    "default_init(bkey, bshape, dtype, lim)",
                    "init_bias(bias_init, bkey, bshape, dtype, lim)",
                ),
            ],
        ),
    ],
)


def convolution(class_name: str) -> Edit:
    return Edit(
        class_name,
        [
            add_parameters("Initializer | None"),
            Document("""
- `weight_init`: As [`equinox.nn.Linear`][]. Called once per group, with the
    shape `(*kernel_size, in_channels // groups, out_channels // groups)`.
    (Keyword only argument.)
- `bias_init`: As `weight_init`, for the bias, of shape `(out_channels,)`.
    (Keyword only argument.)
"""),
            Replace(
                "default_init(wkey, wshape, dtype, lim)",
                "init_weight(weight_init, wkey, wshape, dtype, lim, groups)",
            ),
            Replace(
                "default_init(bkey, bshape, dtype, lim)",
                "init_bias(bias_init, bkey, bshape, dtype, lim)",
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
        convolution("Conv"),
        convolution_of_fixed_rank("Conv1d"),
        convolution_of_fixed_rank("Conv2d"),
        convolution_of_fixed_rank("Conv3d"),
        convolution("ConvTranspose"),
        convolution_of_fixed_rank("ConvTranspose1d"),
        convolution_of_fixed_rank("ConvTranspose2d"),
        convolution_of_fixed_rank("ConvTranspose3d"),
    ],
)

MLP = FileEdits(
    "equinox/nn/_mlp.py",
    imports=[
        "from collections.abc import Sequence",
        "from ._initialise import Initializer, make_stack, per_layer",
    ],
    edits=[
        Edit(
            "MLP",
            [
                add_parameters("Initializer | Sequence[Initializer | None] | None"),
                Document("""
- `weight_init`: As [`equinox.nn.Linear`][], for every layer. Can also be a
    sequence of length `depth + 1`, input layer first, in which `None` is the
    default. (Keyword only argument.)
- `bias_init`: As `weight_init`, for the biases. (Keyword only argument.)
"""),
                InsertAfter(
                    ["keys = jrandom.split(key, depth + 1)"],
                    "inits = per_layer(weight_init, bias_init, len(keys))",
                ),
                Forward("Linear(in_size, out_size)", ["**inits[0]"]),
                Forward("Linear(in_size, width_size)", ["**inits[0]"]),
                AddLambdaParameter("make_hidden_layer", "inits"),
                Forward("Linear(width_size, width_size)", ["**inits"]),
                Replace(
                    "jax.vmap(make_hidden_layer)(keys[1:depth])",
                    "make_stack(make_hidden_layer, keys[1:depth], inits[1:-1])",
                ),
                Replace(
                    "make_hidden_layer(keys[i])", "make_hidden_layer(keys[i], inits[i])"
                ),
                Forward("Linear(width_size, out_size)", ["**inits[-1]"]),
            ],
        ),
    ],
)


ATTENTION = FileEdits(
    "equinox/nn/_attention.py",
    imports=[
        "from typing import Literal",
        "from ._initialise import per_projection, PerName",
    ],
    edits=[
        Edit(
            "MultiheadAttention",
            [
                add_parameters('PerName[Literal["query", "key", "value", "output"]]'),
                Document("""
- `weight_init`: As [`equinox.nn.Linear`][], for all four projections. Can also
    be a dictionary with any of the keys `"query"`, `"key"`, `"value"` and
    `"output"`; a missing key is the default, as is `None`. (Keyword only
    argument.)
- `bias_init`: As `weight_init`, for the biases. (Keyword only argument.)
"""),
                InsertAfter(
                    ["qkey, kkey, vkey, okey = jrandom.split(key, 4)"],
                    "qinit, kinit, vinit, oinit = "
                    "per_projection(weight_init, bias_init)",
                ),
                Forward("Linear(query_size, num_heads * qk_size)", ["**qinit"]),
                Forward("Linear(key_size, num_heads * qk_size)", ["**kinit"]),
                Forward("Linear(value_size, num_heads * vo_size)", ["**vinit"]),
                Forward("Linear(num_heads * vo_size, output_size)", ["**oinit"]),
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
        AppendToSection(
            "## Custom parameter initialisation",
            """
No surgery is needed for a layer that you make yourself. Its arguments `weight_init` \
and `bias_init` take any initialiser from `eqx.nn.init` or `jax.nn.initializers`, or a \
function `init(key, shape, dtype)` of your own. There are just these two, however many \
layers there are inside:
```python
lecun_normal = eqx.nn.init.lecun_normal()
mlp = eqx.nn.MLP(3, 3, 64, 2, weight_init=lecun_normal, key=key)
```
""",
        )
    ],
)

LINEAR_LAYERS = Commit(
    subject="Add `eqx.nn.init`, and `weight_init` and `bias_init` to layers",
    body="""\
Adds a namespace of initialisers, and lets the layers that are linear maps take one for
their weight and one for their bias: `Linear`, `Conv*`, `ConvTranspose*`, `MLP` and
`MultiheadAttention`. An initialiser is any callable `init(key, shape, dtype)`, in the
convention of `jax.nn.initializers`, layout included. Existing code is unaffected.

See #179, #387, #622.
""",
    new_files=[
        "docs/api/nn/init.md",
        "equinox/nn/_initialise.py",
        "equinox/nn/init.py",
        "tests/test_init.py",
    ],
    edits=[NAMESPACE, LINEAR, CONV, MLP, ATTENTION, NAVIGATION, TRICKS],
)
