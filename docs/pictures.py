"""Draws the pictures of the documentation, one function each. Run by `make pictures`.

A picture holds a digest of what it was made from. So only those that are out of date
are drawn again, and a test says so if one is.
"""

import functools
import hashlib
import inspect
import re
from statistics import geometric_mean

from docs.tables import DOCS, load, times_of_defaults


EDITS = ["fork/edits/linear.py", "fork/edits/recurrent.py"]
LIBRARY = ["equinox/nn/_initialise.py", "equinox/nn/init.py", *EDITS]
BENCHMARKS = "docs/benchmarks.json"
GREY = "#767676"  # As legible on white as on black. The site substitutes its own.
STYLE = {
    "axes.edgecolor": GREY,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": GREY,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "font.size": 10,
    "grid.alpha": 0.25,
    "grid.color": GREY,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "equinox",
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
}
# Seen on both, and told apart without colours.
COLOURS = ["#7d8590", "#3b82f6", "#e4572e", "#12936b", "#a855f7"]
LINES = ["--", "-", "-.", (0, (5, 1)), ":"]


def digest(function, *sources) -> str:
    """Of a function, and of others and files, without the docstrings of Python."""
    total = hashlib.sha256(repr([STYLE, COLOURS, LINES]).encode())
    for source in (function, *sources):
        if isinstance(source, str):
            text = (DOCS.parent / source).read_text("utf-8")
        else:
            text = inspect.getsource(source)
        total.update(re.sub(r'""".*?"""', "", text, flags=re.DOTALL).encode())
    return total.hexdigest()


def distributions():
    import equinox as eqx
    import jax.random as jr
    import matplotlib.pyplot as plt
    import numpy as np

    init = eqx.nn.init
    schemes = {
        "the default": None,
        "normal(0.06)": init.normal(0.06),
        "truncated_normal(0.06)": init.truncated_normal(0.06),
        "uniform(-0.1, 0.1)": init.uniform(-0.1, 0.1),
        "glorot_uniform()": init.glorot_uniform(),
        "he_normal()": init.he_normal(),
        "orthogonal()": init.orthogonal(),
        "sparse(0.75, 0.06)": init.sparse(0.75, 0.06),
    }
    figure, axes = plt.subplots(2, 4, figsize=(9, 3.6), sharex=True)
    for axis, (name, scheme) in zip(axes.flat, schemes.items()):
        linear = eqx.nn.Linear(256, 256, weight_init=scheme, key=jr.key(0))
        weights = np.ravel(linear.weight)
        axis.hist(weights, 61, range=(-0.25, 0.25), histtype="stepfilled", color="C1")
        axis.set_title(f"{name}\nstd {weights.std():.3f}", fontsize=9)
        axis.set(yticks=[])
    return figure


@functools.cache  # Two pictures show it.
def rms_in_networks():
    """Of activations and gradients by depth, by width, activation and scheme."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    init = eqx.nn.init
    schemes = {
        "default": lambda f: None,
        "lecun_normal": lambda f: init.lecun_normal(),
        "he_normal": lambda f: init.he_normal(),
        "orthogonal, with gain": lambda f: init.orthogonal(init.calculate_gain(f)),
    }
    activations = {"tanh": jnp.tanh, "relu": jax.nn.relu, "gelu": jax.nn.gelu}
    widths, depth = (32, 256), 30

    @eqx.filter_jit
    def rms_by_depth(f, width, scheme):
        bias_init = None if scheme is None else init.zeros

        @eqx.filter_vmap
        def make(key):
            inits = dict(weight_init=scheme, bias_init=bias_init)
            return eqx.nn.Linear(width, width, **inits, key=key)

        layers = make(jr.split(jr.key(0), depth))

        # The offsets are zero. Their gradients are those of the activations.
        def loss(offsets, x):
            def step(x, layer_and_offset):
                layer, offset = layer_and_offset
                x = f(layer(x)) + offset
                return x, x

            x, hidden = jax.lax.scan(step, x, (layers, offsets))
            return x @ jr.normal(jr.key(2), (width,)) / width**0.5, hidden

        x = jr.normal(jr.key(1), (64, width))
        offsets = jnp.zeros((depth, width))
        grads, hidden = jax.vmap(jax.grad(loss, has_aux=True), (None, 0))(offsets, x)
        rms = lambda x: jnp.sqrt(jnp.mean(x**2, axis=(0, 2)))
        return rms(hidden), rms(grads)

    return {
        width: {
            name: {x: rms_by_depth(f, width, make(f)) for x, make in schemes.items()}
            for name, f in activations.items()
        }
        for width in widths
    }


def by_depth(index, label):
    """Of activations (0), or of gradients (1), in networks of 30 layers."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(9, 4.8), sharex=True, sharey=True)
    for row, (width, by_activation) in zip(axes, rms_in_networks().items()):
        for axis, (name, by_scheme) in zip(row, by_activation.items()):
            for scheme, rms in by_scheme.items():
                axis.semilogy(range(1, len(rms[index]) + 1), rms[index], label=scheme)
            axis.set_title(f"{name}, width {width}", fontsize=9)
        row[0].set_ylabel(label)
    axes[0, 0].set_ylim(1e-9, 1e2)
    for axis in axes[1]:
        axis.set_xlabel("layer")
    lines = axes[0, 0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside upper center", ncols=4)
    return figure


def activations():
    return by_depth(0, "RMS of activations")


def gradients():
    return by_depth(1, "RMS of gradients")


def layout():
    import equinox as eqx
    import jax
    import jax.random as jr
    import matplotlib.pyplot as plt

    he_normal = jax.nn.initializers.he_normal()
    nn = eqx.nn
    layers = {  # And the number of inputs of a single neuron.
        "Linear(1024, 256)": (nn.Linear, (1024, 256), {}, 1024),
        "Linear(64, 1024)": (nn.Linear, (64, 1024), {}, 64),
        "Conv2d(64, 32, 3)": (nn.Conv2d, (64, 32, 3), {}, 64 * 9),
        "Conv2d(64, 64, 3, groups=8)": (nn.Conv2d, (64, 64, 3), dict(groups=8), 8 * 9),
        "Conv2d(64, 64, 3, groups=64)": (nn.Conv2d, (64, 64, 3), dict(groups=64), 9),
        "ConvTranspose2d(64, 16, 4)": (nn.ConvTranspose2d, (64, 16, 4), {}, 64 * 16),
    }
    key = jr.key(0)
    by_hand, as_argument = [], []
    for cls, args, kwargs, fan_in in layers.values():
        expected = (2 / fan_in) ** 0.5
        shape = cls(*args, **kwargs, key=key).weight.shape
        by_hand.append(he_normal(key, shape).std() / expected)
        layer = cls(*args, **kwargs, weight_init=he_normal, key=key)
        as_argument.append(layer.weight.std() / expected)

    figure, axis = plt.subplots(figsize=(9, 3))
    axis.axvline(1, color="C0", zorder=0)
    rows = range(len(layers))
    axis.plot(
        by_hand, rows, "X", color="C2", ms=9, label="by hand, in the stored shape"
    )
    axis.plot(as_argument, rows, "o", color="C1", ms=9, label="weight_init=he_normal")
    axis.set(xscale="log", xlabel="standard deviation / expected")
    axis.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    axis.minorticks_off()
    axis.set_yticks(rows, layers)
    axis.invert_yaxis()
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def gates():
    import equinox as eqx
    import jax.numpy as jnp
    import jax.random as jr
    import matplotlib.pyplot as plt

    init, key = eqx.nn.init.orthogonal(), jr.key(0)
    cell = eqx.nn.LSTMCell(32, 64, weight_init={"hh": init}, key=key)
    weights = {
        "one draw for all gates": init(key, (64, 4 * 64), jnp.float32).T,
        "weight_init: one draw per gate": cell.weight_hh,
    }
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.6), sharey=True)
    for axis, (title, weight) in zip(axes, weights.items()):
        names = ["input", "forget", "cell", "output"]
        for name, gate in zip(names, jnp.split(weight, 4)):
            axis.plot(jnp.linalg.svd(gate)[1], label=name)
        axis.set_title(title, fontsize=9)
        axis.set(xlabel="index", ylim=(0, 1.1))
    axes[0].set_ylabel("singular value")
    axes[0].legend(ncols=2)
    return figure


def costs():
    import matplotlib.pyplot as plt

    bench = load("benchmarks.json")
    bars = {
        "tree_at: new process": ("transformer", "fresh", "init / tree_at"),
        "tree_at: peak memory": ("transformer", "peak memory", "init / tree_at"),
        "tree_at: compiled function": ("transformer", "all three", "init / tree_at"),
        "filter_eval_shape, tree_at: new process": (
            "transformer",
            "fresh",
            "init / eval_shape",
        ),
        "jax.random alone: new process": ("transformer", "fresh", "init / bare"),
        "Flax NNX: new process": ("peers", "fresh", "equinox / flax"),
        "Keras, on JAX: new process": ("peers", "fresh", "equinox / keras"),
        "PyTorch: new process": ("peers", "fresh", "equinox / pytorch"),
    }
    ratios = {label: bench[a][b][c] for label, (a, b, c) in bars.items()}
    ratios["without an initialiser: upstream's layers"] = geometric_mean(
        times_of_defaults().values()
    )
    figure, axis = plt.subplots(figsize=(7, 3.2))
    for label, value in reversed(ratios.items()):
        axis.barh(label, value, color="C1" if value <= 1 else "C2")
        axis.text(value + 0.02, label, f"{value:.2f}", va="center")
    axis.axvline(1, color="C0")
    axis.grid(axis="y", visible=False)
    axis.set(
        xlabel="CPU time or memory of the fork ÷ alternative; below 1, it takes less"
    )
    axis.set(xlim=(0, 1.2 * max(ratios.values())))
    return figure


def growth():
    import matplotlib.pyplot as plt

    bench = load("benchmarks.json")["growth"]
    kinds = dict(list="in a list", stacked="by filter_vmap", scan="MLP(scan=True)")
    figure, axis = plt.subplots(figsize=(7, 3.2))
    for i, (kind, label) in enumerate(kinds.items()):
        numbers = [1, 10, 100, 1000]
        times = [bench[f"{kind}, {n}"]["fork, best"] for n in numbers]
        axis.loglog(numbers, times, marker="o", label=label, color=f"C{i + 1}")
    axis.set(xlabel="number of layers", ylabel="seconds of CPU time")
    axis.legend()
    return figure


def digits():
    from examples.digits import plot, train_all

    return plot(*train_all())


def inside():
    from examples.inside import plot, tables

    return plot(tables())


# And what each is made from, beside this file.
PICTURES = {
    distributions: LIBRARY,
    activations: [by_depth, rms_in_networks, *LIBRARY],
    gradients: [by_depth, rms_in_networks, *LIBRARY],
    layout: LIBRARY,
    gates: LIBRARY,
    costs: [times_of_defaults, BENCHMARKS],
    growth: [BENCHMARKS],
    digits: [*LIBRARY, "examples/digits.py"],
    inside: [*LIBRARY, "equinox/nn/_reinitialise.py", "examples/inside.py"],
}


def out_of_date() -> dict:
    """Functions that draw a picture, and its new digest, by where it is to be."""
    stale = {}
    for function, sources in PICTURES.items():
        path = DOCS / "pictures" / f"{function.__name__}.svg"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if (made_from := digest(function, *sources)) not in text:
            stale[path] = function, made_from
    return stale


def main() -> None:
    import matplotlib.pyplot as plt

    plt.switch_backend("svg")
    plt.rcParams |= STYLE
    plt.rcParams["axes.prop_cycle"] = plt.cycler(color=COLOURS, linestyle=LINES)
    for path, (function, made_from) in out_of_date().items():
        print(f"Drawing {path.relative_to(DOCS.parent)}", flush=True)
        metadata = {"Date": None, "Description": f"Made from {made_from}"}
        function().savefig(path, metadata=metadata)
        plt.close("all")
    print("All pictures are up to date.")


if __name__ == "__main__":
    main()
