"""How much does initialisation matter? Handwritten digits, four kinds of network.

Trains networks on the 1797 images of 8x8 pixels that come with scikit-learn, each from
several seeds at once, and compares the test accuracy that they reach with the default
initialisation and with others. Nothing but `weight_init` and `bias_init` differs.
"""

import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm


NUM_SEEDS = 5
BATCH_SIZE = 128
STEPS_PER_RECORD = 20
DEPTH = 40
GAIN = eqx.nn.init.calculate_gain("relu")

he = dict(weight_init=eqx.nn.init.he_normal(), bias_init=eqx.nn.init.zeros)
orthogonal = eqx.nn.init.orthogonal(GAIN)
# As is usual for policies, the last layer starts close to zero.
last_orthogonal = eqx.nn.init.orthogonal(0.01)


class ConvNet(eqx.Module):
    layers: list[eqx.nn.Conv2d]
    head: eqx.nn.Linear

    def __init__(self, *, conv_kwargs={}, head_kwargs={}, key: PRNGKeyArray):
        key1, key2, key3 = jr.split(key, 3)
        self.layers = [
            eqx.nn.Conv2d(1, 16, 3, stride=2, padding=1, key=key1, **conv_kwargs),
            eqx.nn.Conv2d(16, 32, 3, stride=2, padding=1, key=key2, **conv_kwargs),
        ]
        self.head = eqx.nn.Linear(32 * 2 * 2, 10, key=key3, **head_kwargs)

    def __call__(self, x: Array) -> Array:
        x = x.reshape(1, 8, 8)
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return self.head(x.reshape(-1))


class RowByRow(eqx.Module):
    """Reads an image one row after another."""

    cell: eqx.nn.LSTMCell
    head: eqx.nn.Linear

    def __init__(self, *, cell_kwargs={}, key: PRNGKeyArray):
        key1, key2 = jr.split(key, 2)
        self.cell = eqx.nn.LSTMCell(8, 64, key=key1, **cell_kwargs)
        self.head = eqx.nn.Linear(64, 10, key=key2)

    def __call__(self, x: Array) -> Array:
        start = (jnp.zeros(64), jnp.zeros(64))
        (h, _), _ = jax.lax.scan(
            lambda state, row: (self.cell(row, state), None), start, x.reshape(8, 8)
        )
        return self.head(h)


def mlp(depth: int, width: int, **kwargs) -> Callable:
    return lambda key: eqx.nn.MLP(64, 10, width, depth, scan=True, key=key, **kwargs)


def conv(conv_kwargs: dict, head_kwargs: dict) -> Callable:
    return lambda key: ConvNet(
        conv_kwargs=conv_kwargs, head_kwargs=head_kwargs, key=key
    )


def row_by_row(**cell_kwargs) -> Callable:
    return lambda key: RowByRow(cell_kwargs=cell_kwargs, key=key)


def all_but_last(depth: int, last: eqx.nn.init.Initializer) -> dict:
    weight_init = [orthogonal] * depth + [last]
    return dict(weight_init=weight_init, bias_init=eqx.nn.init.zeros)


zeros = dict(bias_init=eqx.nn.init.zeros)
NETWORKS = {
    "MLP, 2 hidden layers": {
        "default": mlp(2, 128),
        "he_normal, zero biases": mlp(2, 128, **he),
        "orthogonal per layer": mlp(2, 128, **all_but_last(2, last_orthogonal)),
    },
    "Conv2d, 2 layers": {
        "default": conv({}, {}),
        "he_normal, zero biases": conv(he, he),
        "orthogonal per layer": conv(
            dict(zeros, weight_init=orthogonal),
            dict(zeros, weight_init=last_orthogonal),
        ),
    },
    "LSTM, row by row": {
        "default": row_by_row(),
        "orthogonal per gate": row_by_row(weight_init={"hh": eqx.nn.init.orthogonal()}),
        "forget bias one": row_by_row(bias_init={"forget": eqx.nn.init.ones}),
    },
    f"MLP, {DEPTH} hidden layers": {
        "default": mlp(DEPTH, 32),
        "he_normal, zero biases": mlp(DEPTH, 32, **he),
        "orthogonal per layer": mlp(
            DEPTH, 32, **all_but_last(DEPTH, eqx.nn.init.orthogonal())
        ),
    },
}


def load() -> tuple[Array, Array, Array, Array]:
    x, y = load_digits(return_X_y=True)
    x = (x - x.mean()) / x.std()
    split = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    x_train, x_test, y_train, y_test = split
    return tuple(  # pyright: ignore
        jnp.asarray(a, t)
        for a, t in (
            (x_train, jnp.float32),
            (y_train, jnp.int32),
            (x_test, jnp.float32),
            (y_test, jnp.int32),
        )
    )


def train(
    make: Callable, data: tuple[Array, ...], steps: int, progress: tqdm
) -> tuple[np.ndarray, np.ndarray]:
    """The test accuracy of each seed at the end, and the training loss all along."""
    x_train, y_train, x_test, y_test = data
    optimiser = optax.adam(1e-3)
    keys = jr.split(jr.key(0), NUM_SEEDS)
    models = eqx.filter_vmap(make)(keys)
    opt_states = eqx.filter_vmap(
        lambda model: optimiser.init(eqx.filter(model, eqx.is_array))
    )(models)

    def loss_fn(model, x, y):
        logits = jax.vmap(model)(x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @eqx.filter_jit
    @eqx.filter_vmap
    def many_steps(model, opt_state, key):
        params, static = eqx.partition(model, eqx.is_array)

        def step(carry, key):
            params, opt_state = carry
            index = jr.choice(key, len(x_train), (BATCH_SIZE,), replace=False)
            model = eqx.combine(params, static)
            loss, grads = eqx.filter_value_and_grad(loss_fn)(
                model, x_train[index], y_train[index]
            )
            updates, opt_state = optimiser.update(grads, opt_state, params)
            return (eqx.apply_updates(params, updates), opt_state), loss

        keys = jr.split(key, STEPS_PER_RECORD)
        (params, opt_state), losses = jax.lax.scan(step, (params, opt_state), keys)
        return eqx.combine(params, static), opt_state, losses.mean()

    @eqx.filter_jit
    @eqx.filter_vmap
    def accuracy(model):
        return jnp.mean(jax.vmap(model)(x_test).argmax(axis=1) == y_test)

    losses = []
    for i in range(steps // STEPS_PER_RECORD):
        step_keys = jr.split(jr.fold_in(jr.key(1), i), NUM_SEEDS)
        models, opt_states, loss = many_steps(models, opt_states, step_keys)
        losses.append(np.asarray(loss))
        progress.update(STEPS_PER_RECORD)
    return np.asarray(accuracy(models)), np.stack(losses)


def activation_scales(make: Callable, x: Array) -> np.ndarray:
    """How much the activations after each hidden layer of an MLP tell images apart.

    That is, the standard deviation over images, as an average over units.
    """
    model = make(jr.key(0))
    first, hidden, _ = model.layers
    x = jax.nn.relu(jax.vmap(first)(x))
    scales = [x.std(axis=0).mean()]
    for i in range(model.depth - 1):
        layer = jax.tree.map(lambda leaf: leaf[i], eqx.filter(hidden, eqx.is_array))
        layer = eqx.combine(layer, hidden)
        x = jax.nn.relu(jax.vmap(layer)(x))
        scales.append(x.std(axis=0).mean())
    return np.asarray(scales)


COLOURS = {
    "default": "#7d8590",
    "he_normal, zero biases": "#3b82f6",
    "orthogonal per layer": "#e4572e",
    "orthogonal per gate": "#e4572e",
    "forget bias one": "#12936b",
}


def train_all(steps: int = 400) -> tuple[dict, dict, dict]:
    """What `plot` shows, for all networks."""
    data = load()
    deep, accuracies, losses = list(NETWORKS)[-1], {}, {}
    num_runs = sum(map(len, NETWORKS.values()))
    total = num_runs * (steps // STEPS_PER_RECORD) * STEPS_PER_RECORD
    # Without an estimate of the time, since compilation comes first.
    bar = "{l_bar}{bar}| {n_fmt}/{total_fmt} steps, {elapsed}"
    # It is not shown if the output is not a terminal.
    with tqdm(total=total, mininterval=1, bar_format=bar, disable=None) as progress:
        for network, variants in NETWORKS.items():
            for name, make in variants.items():
                progress.set_description(f"{network}: {name}")
                accuracy, loss = train(make, data, steps, progress)
                accuracies[network, name] = accuracy
                if network == deep:
                    losses[name] = loss
            if progress.disable:
                print(f"Trained: {network}", flush=True)
    scales = {
        name: activation_scales(make, data[2]) for name, make in NETWORKS[deep].items()
    }
    return scales, losses, accuracies


def plot(scales: dict, losses: dict, accuracies: dict) -> plt.Figure:
    """The deep network before and during training, and all networks after it."""
    figure, axes = plt.subplots(
        1, 3, figsize=(10, 3.6), layout="constrained", width_ratios=[1, 1, 1.3]
    )
    before, during, after = axes
    for name, scale in scales.items():
        # What has underflowed to zero cannot be shown on a logarithmic scale.
        layers, shown = np.arange(1, len(scale) + 1), np.where(scale > 0, scale, np.nan)
        style = dict(color=COLOURS[name], linestyle="-")
        before.semilogy(layers, shown, label=name, **style)
        loss = losses[name]
        steps = STEPS_PER_RECORD * np.arange(1, len(loss) + 1)
        during.plot(steps, loss.mean(axis=1), **style)
        low, high = loss.min(axis=1), loss.max(axis=1)
        during.fill_between(steps, low, high, color=COLOURS[name], alpha=0.2, lw=0)
    before.set(
        title=f"{DEPTH} layers, before training:\nthe signal, layer by layer",
        xlabel="hidden layer",
        ylabel="std over images",
    )
    during.set(
        title=f"{DEPTH} layers, training:\nmean and range over {NUM_SEEDS} seeds",
        xlabel="step",
        ylabel="loss",
        ylim=(0, None),
    )
    networks = list(dict.fromkeys(network for network, _ in accuracies))
    for (network, name), accuracy in accuracies.items():
        row = networks.index(network) + 0.22 * (list(NETWORKS[network]).index(name) - 1)
        # The scale is that of the error, so that 98 and 99 percent can be told apart.
        error = np.maximum(100 * (1 - accuracy), 0.2)
        after.plot(error, [row] * NUM_SEEDS, "o", ms=5, color=COLOURS[name], alpha=0.6)
    after.set(
        title="All networks, trained:\none dot for each seed",
        xlabel="test accuracy in percent",
        xscale="log",
        yticks=range(len(networks)),
        yticklabels=[network.replace(", ", "\n") for network in networks],
    )
    accuracies_shown = [10, 50, 80, 90, 95, 98, 99, 99.5]
    after.set_xticks([100 - x for x in accuracies_shown], accuracies_shown)
    after.minorticks_off()
    after.set_xlim(100, 0.4)
    after.invert_yaxis()
    handles = before.get_legend_handles_labels()[0]
    forget = "forget bias one"
    handles.append(plt.Line2D([], [], color=COLOURS[forget], label=forget))
    labels = [str(handle.get_label()) for handle in handles]
    labels = [f"{x} or gate" if x == "orthogonal per layer" else x for x in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def summary(scales: dict, accuracies: dict) -> str:
    deep = list(NETWORKS)[-1]
    mean = {key: 100 * accuracy.mean() for key, accuracy in accuracies.items()}
    changes = [x - mean[n, "default"] for (n, _), x in mean.items() if n != deep]
    he_normal = "he_normal, zero biases"
    default, he = scales["default"], scales[he_normal]
    return textwrap.fill(
        f"What this shows: with the default, no signal gets through the {DEPTH} hidden "
        "layers. The standard deviation of the activations over images falls from "
        f"{default[0]:.2g} in the first layer to {default[-1]:.1g} in the last, and "
        f"the test accuracy is {mean[deep, 'default']:.0f}%. Guessing gives 10%. "
        "With weight_init=he_normal() and zero biases, the standard deviation is "
        f"{he[-1]:.2g} in the last layer, and the test accuracy is "
        f"{mean[deep, he_normal]:.0f}%. For the other networks the choice matters "
        f"little: the mean accuracy changes by at most {max(map(abs, changes)):.1f} "
        "percentage points.",
        88,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/digits.svg"))
    parser.add_argument("--steps", type=int, default=400)
    args = parser.parse_args()
    matplotlib.use("agg")

    num_runs = sum(map(len, NETWORKS.values()))
    print(
        f"Training {num_runs} configurations on images of handwritten digits, each "
        f"with {NUM_SEEDS} seeds.\nFor each kind of network, only weight_init and "
        "bias_init differ. This takes one to three minutes.",
        flush=True,
    )
    scales, losses, accuracies = train_all(args.steps)
    print(f"\nTest accuracy in percent, over {NUM_SEEDS} seeds, {args.steps} steps\n")
    print(f"{'network':22} {'initialisation':24} {'mean':>6} {'min':>6} {'max':>6}")
    for (network, name), accuracy in accuracies.items():
        figures = [accuracy.mean(), accuracy.min(), accuracy.max()]
        row = " ".join(f"{100 * figure:6.1f}" for figure in figures)
        print(f"{network:22} {name:24} {row}")

    figure = plot(scales, losses, accuracies)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.output)
    print(f"\n{summary(scales, accuracies)}")
    print(f"\nFigure: {args.output.resolve()}")


if __name__ == "__main__":
    main()
