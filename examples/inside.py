"""Looks inside three networks, each before and after a better initialisation.

Prints, for every layer, the standard deviation of its weight, and the root mean square
(RMS) of its output and of the gradient there, for one batch of handwritten digits.
`look_inside` works for any Equinox model, without changing it.
"""

import argparse
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib
import matplotlib.pyplot as plt
import optax
from jaxtyping import Array, PRNGKeyArray
from sklearn.datasets import load_digits


@jax.custom_vjp
def tap(y, sums):  # Returns `y`. What we look for is the "gradient" of `sums`.
    return y


def tap_bwd(y, grad):
    mean_square = lambda x: jnp.mean(jnp.abs(x.astype(jnp.float32)) ** 2)
    return grad, jnp.stack([mean_square(y), mean_square(grad), jnp.ones(())])


tap.defvjp(lambda y, sums: (y, y), tap_bwd)


def weights(x):
    return [
        v for k, v in vars(x).items() if k[:6] == "weight" and eqx.is_inexact_array(v)
    ]


def is_layer(x):
    return isinstance(x, eqx.Module) and len(weights(x)) > 0


def tapped(layer):
    class Tapped(type(layer)):
        sums: jax.Array | None = None

        def __call__(self, *args, **kwargs):
            outputs, treedef = jax.tree.flatten(super().__call__(*args, **kwargs))
            first = list(map(eqx.is_inexact_array, outputs)).index(True)
            outputs[first] = tap(outputs[first], self.sums)
            return treedef.unflatten(outputs)

    new = object.__new__(Tapped)
    for field in dataclasses.fields(Tapped):
        object.__setattr__(new, field.name, getattr(layer, field.name, jnp.zeros(3)))
    return new


def layers(tree):
    found = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_layer)
    return [(jax.tree_util.keystr(path), x) for path, x in found if is_layer(x)]


def look_inside(loss, model, *batch):
    """For each layer: its path, std of weight, RMS of output and RMS of gradient."""
    tap_layer = lambda x: tapped(x) if is_layer(x) else x
    model = jax.tree.map(tap_layer, model, is_leaf=is_layer)
    grads = eqx.filter_jit(eqx.filter_grad(loss))(model, *batch)
    for (path, layer), (_, grad) in zip(layers(model), layers(grads)):
        std = jnp.concatenate([jnp.ravel(w) for w in weights(layer)]).std()
        *sums, num_calls = grad.sums
        rms = [float(x / num_calls) ** 0.5 for x in sums]
        yield path, float(std), *rms


class ConvNet(eqx.Module):
    convs: list[eqx.nn.Conv2d]
    head: eqx.nn.Linear

    def __init__(self, key: PRNGKeyArray):
        *conv_keys, head_key = jr.split(key, 13)
        sizes = [1] + [16] * 12
        self.convs = [
            eqx.nn.Conv2d(in_, out, 3, padding=1, key=k)
            for in_, out, k in zip(sizes, sizes[1:], conv_keys)
        ]
        self.head = eqx.nn.Linear(16, 10, key=head_key)

    def __call__(self, x: Array) -> Array:
        x = x.reshape(1, 8, 8)
        for conv in self.convs:
            x = jax.nn.relu(conv(x))
        return self.head(x.mean(axis=(1, 2)))


class Block(eqx.Module):
    norm1: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    norm2: eqx.nn.LayerNorm
    mlp: eqx.nn.MLP

    def __init__(self, size: int, key: PRNGKeyArray):
        key1, key2 = jr.split(key)
        self.norm1 = eqx.nn.LayerNorm(size)
        self.attention = eqx.nn.MultiheadAttention(4, size, key=key1)
        self.norm2 = eqx.nn.LayerNorm(size)
        self.mlp = eqx.nn.MLP(size, size, 4 * size, 1, jax.nn.gelu, key=key2)

    def __call__(self, x: Array) -> Array:
        y = jax.vmap(self.norm1)(x)
        x = x + self.attention(y, y, y)
        return x + jax.vmap(self.mlp)(jax.vmap(self.norm2)(x))


class Transformer(eqx.Module):
    """Reads an image pixel by pixel; each has one of 17 shades of grey."""

    shade: eqx.nn.Embedding
    position: eqx.nn.Embedding
    blocks: list[Block]
    norm: eqx.nn.LayerNorm
    head: eqx.nn.Linear

    def __init__(self, key: PRNGKeyArray):
        key1, key2, key3, *block_keys = jr.split(key, 3 + NUM_BLOCKS)
        self.shade = eqx.nn.Embedding(17, 64, key=key1)
        self.position = eqx.nn.Embedding(64, 64, key=key2)
        self.blocks = [Block(64, k) for k in block_keys]
        self.norm = eqx.nn.LayerNorm(64)
        self.head = eqx.nn.Linear(64, 10, key=key3)

    def __call__(self, x: Array) -> Array:
        x = jax.vmap(self.shade)(x.astype(jnp.int32))
        x = x + jax.vmap(self.position)(jnp.arange(64))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x.mean(axis=0)))


NUM_BLOCKS = 6
he = dict(weight_init=eqx.nn.init.he_normal(), bias_init=eqx.nn.init.zeros)
gpt2 = dict(weight_init=eqx.nn.init.normal(0.02), bias_init=eqx.nn.init.zeros)


def ends_branch(path: str) -> bool:
    return path.endswith((".output_proj", ".mlp.layers[1]"))


def smaller_at_ends(path: str, layer: eqx.Module) -> bool | dict:
    if ends_branch(path):
        stddev = 0.02 / math.sqrt(2 * NUM_BLOCKS)
        return dict(weight_init=eqx.nn.init.normal(stddev))
    return True


NETWORKS = {
    "MLP, 20 layers": (
        lambda key: eqx.nn.MLP(64, 10, 64, 19, key=key),
        "he_normal, zero biases",
        he,
    ),
    "Conv2d, 12 layers": (ConvNet, "he_normal, zero biases", he),
    "transformer, 6 blocks": (
        Transformer,
        "as GPT-2",
        dict(gpt2, select=smaller_at_ends),
    ),
}


def loss(model: Callable, x: Array, y: Array) -> Array:
    logits = jax.vmap(model)(x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def tables() -> dict[str, dict[str, list]]:
    """What `look_inside` finds, for each network and initialisation."""
    x, y = load_digits(return_X_y=True)
    x, y = jnp.asarray(x[:128], jnp.float32), jnp.asarray(y[:128])
    key, found = jr.key(0), {}
    for network, (make, name, kwargs) in NETWORKS.items():
        inputs = x if make is Transformer else (x - x.mean()) / x.std()
        before = make(key)
        after = eqx.nn.reinitialise(before, **kwargs, key=key)
        models = {"default": before, name: after}
        found[network] = {
            name: list(look_inside(loss, model, inputs, y))
            for name, model in models.items()
        }
    return found


def plot(tables: dict) -> plt.Figure:
    """The RMS of outputs and of gradients over depth."""
    figure, axes = plt.subplots(2, 3, figsize=(10, 4.6), layout="constrained")
    for column, (network, variants) in zip(axes.T, tables.items()):
        for i, (name, rows) in enumerate(variants.items()):
            # Of the transformer, only what is added to its residual stream.
            rows = [row for row in rows if ends_branch(row[0])] or rows
            for axis, figures in zip(column, list(zip(*rows))[2:]):
                depth = range(1, len(rows) + 1)
                axis.semilogy(depth, figures, color=COLOURS[i], ls="-", label=name)
        column[0].set_title(network)
        column[0].legend(frameon=False, fontsize=8, loc="center right")
        is_transformer = network.startswith("transformer")
        column[1].set_xlabel("branch" if is_transformer else "layer")
    axes[0, 0].set_ylabel("RMS of output")
    axes[1, 0].set_ylabel("RMS of gradient")
    for axis in axes.flat:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


COLOURS = ["#7d8590", "#3b82f6"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/inside.svg"))
    args = parser.parse_args()
    matplotlib.use("agg")
    found = tables()
    for network in found:
        names = "{:32} | {:^29} | {:^29}".format(network, *found[network])
        head = "{:>9} {:>9} {:>9}".format("weight", "output", "gradient")
        print(f"\n{names}\n{'':32} | {head} | {head}")
        for (path, *old), (_, *new) in zip(*found[network].values()):
            cells = [" ".join(f"{x:9.2g}" for x in figures) for figures in (old, new)]
            print(f"{path:32} | {cells[0]} | {cells[1]}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    plot(found).savefig(args.output)
    print(f"\nFigure: {args.output.resolve()}")


if __name__ == "__main__":
    main()
