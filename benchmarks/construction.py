"""What it costs to initialise a transformer of 85 million parameters.

Compares three ways of drawing every weight from a truncated normal distribution and
setting every bias to zero:

- `bare`: the calls of `jax.random` and nothing else, i.e. no layers;
- `init`: with `weight_init` and `bias_init`;
- `tree_at`: by building the layers with their defaults, then replacing the parameters.

Each run is a process of its own, and the three alternate. Prints medians, and ratios of
`init` to the others, pair by pair. The times are of building the model eagerly for the
first time ("fresh") and for the second ("again", with everything compiled), and of
building it inside of a compiled function ("jit").
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr


NUM_BLOCKS, NUM_HEADS, SIZE, HIDDEN_SIZE = 12, 12, 768, 3072
STDDEV = 0.02


class Block(eqx.Module):
    attention: eqx.nn.MultiheadAttention
    up: eqx.nn.Linear
    down: eqx.nn.Linear

    def __init__(self, key, **kwargs):
        key1, key2, key3 = jr.split(key, 3)
        self.attention = eqx.nn.MultiheadAttention(
            NUM_HEADS,
            SIZE,
            use_query_bias=True,
            use_key_bias=True,
            use_value_bias=True,
            use_output_bias=True,
            key=key1,
            **kwargs,
        )
        self.up = eqx.nn.Linear(SIZE, HIDDEN_SIZE, key=key2, **kwargs)
        self.down = eqx.nn.Linear(HIDDEN_SIZE, SIZE, key=key3, **kwargs)


def build(key, **kwargs):
    return [Block(k, **kwargs) for k in jr.split(key, NUM_BLOCKS)]


def draw(key, shape):
    return STDDEV * jr.truncated_normal(key, -2, 2, shape)


def bare(key):
    shapes = [(SIZE, SIZE)] * 4 + [(HIDDEN_SIZE, SIZE), (SIZE, HIDDEN_SIZE)]
    keys = jr.split(key, (NUM_BLOCKS, len(shapes)))
    return [
        (draw(k, shape), jnp.zeros(shape[0]))
        for block_keys in keys
        for k, shape in zip(block_keys, shapes)
    ]


def init(key):
    truncated_normal = eqx.nn.init.truncated_normal(STDDEV)
    return build(key, weight_init=truncated_normal, bias_init=eqx.nn.init.zeros)


def tree_at(key):
    model = build(key)
    is_linear = lambda x: isinstance(x, eqx.nn.Linear)

    def get(name):
        def get_leaves(model):
            layers = jax.tree.leaves(model, is_leaf=is_linear)
            return [getattr(x, name) for x in layers if is_linear(x)]

        return get_leaves

    weights = get("weight")(model)
    keys = jr.split(key, len(weights))
    new_weights = [draw(k, w.shape) for k, w in zip(keys, weights)]
    model = eqx.tree_at(get("weight"), model, new_weights)
    new_biases = [jnp.zeros_like(b) for b in get("bias")(model)]
    return eqx.tree_at(get("bias"), model, new_biases)


WAYS = {"bare": bare, "init": init, "tree_at": tree_at}


def measure(way: str) -> dict[str, float]:
    def seconds(fn, key):
        start = time.perf_counter()
        out = jax.block_until_ready(eqx.filter(fn(key), eqx.is_array))
        del out
        return time.perf_counter() - start

    fn = WAYS[way]
    keys = jax.block_until_ready(jr.split(jr.PRNGKey(0), 5))
    out = {"fresh": seconds(fn, keys[0])}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out["peak MB"] = peak / 1024
    out["again"] = min(seconds(fn, key) for key in keys[1:3])
    compiled = eqx.filter_jit(fn)
    seconds(compiled, keys[0])
    out["jit"] = min(seconds(compiled, key) for key in keys[1:])
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way is not None:
        print(json.dumps(measure(args.way)))
        return

    runs = {way: [] for way in WAYS}
    for _ in range(args.runs):
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs[way].append(json.loads(done.stdout))
    figures = list(runs["init"][0])
    print(f"{'':16}" + "".join(f"{figure:>10}" for figure in figures))
    for way in WAYS:
        medians = [statistics.median(run[f] for run in runs[way]) for f in figures]
        print(f"{way:16}" + "".join(f"{median:10.2f}" for median in medians))
    for other in ("bare", "tree_at"):
        ratios = [
            statistics.median(
                ours[f] / theirs[f] for ours, theirs in zip(runs["init"], runs[other])
            )
            for f in figures
        ]
        print(f"{f'init / {other}':16}" + "".join(f"{ratio:10.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
