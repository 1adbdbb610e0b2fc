"""Builds many layers, and writes down all that there is to tell of each.

Run with pristine upstream on the path, and with the fork: `python record.py save DIR`
writes a record of every layer and a checkpoint of some, and `python record.py load DIR`
writes a record of what loading the checkpoints of the other gives. Uses nothing that
only the fork has.
"""

import contextlib
import functools as ft
import hashlib
import itertools as it
import json
import re
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jax.tree_util as jtu
import numpy as np


NN = eqx.nn


def layers():
    """Pairs of a name and a function of `dtype` and `key`."""
    for in_, out in it.product(["scalar", 0, 1, 3, 7, 49], ["scalar", 0, 5]):
        for bias in (True, False):
            yield "Linear", (in_, out), dict(use_bias=bias)
    for n, prefix in it.product((1, 2, 3), ("Conv", "ConvTranspose")):
        for groups, bias, size in it.product((1, 3), (True, False), (1, 3)):
            kwargs = dict(groups=groups, use_bias=bias)
            yield f"{prefix}{n}d", (3, 6, size), kwargs
            yield prefix, (n, 6, 9, size), kwargs
    yield "Conv2d", (3, 5, (2, 3)), dict(padding="SAME", dilation=2)
    yield "Conv1d", (3, 5, 3), dict(padding_mode="CIRCULAR", padding=1)
    yield "ConvTranspose2d", (3, 5, (2, 3)), dict(stride=2, output_padding=1)
    for depth, scan in it.product(range(4), (False, True)):
        for bias, final_bias in it.product((True, False), repeat=2):
            kwargs = dict(scan=scan, use_bias=bias, use_final_bias=final_bias)
            yield "MLP", (3, 2, 7, depth), kwargs
    yield "MLP", ("scalar", "scalar", 7, 2), dict(activation=jnp.tanh)
    names = ("use_query_bias", "use_key_bias", "use_value_bias", "use_output_bias")
    for uses in it.product((True, False), repeat=4):
        yield "MultiheadAttention", (2, 6), dict(zip(names, uses))
    sizes = dict(key_size=3, value_size=4, output_size=5, qk_size=6, vo_size=7)
    yield "MultiheadAttention", (3, 6), dict(sizes, dropout_p=0.5, inference=True)
    # These are not edited, but are made of layers that are, or stand beside them.
    for hidden in (1, 3, 5, 7, 49, 100):
        for name in ("GRUCell", "LSTMCell"):
            yield name, (3, hidden), {}
            yield name, (3, hidden), dict(use_bias=False)
    yield "Embedding", (5, 3), {}


def keys():
    yield "raw", jr.PRNGKey(0)
    for impl in ("threefry2x32", "rbg", "unsafe_rbg"):
        yield impl, jr.key(1, impl=impl)


def describe_array(x):
    content = hashlib.sha256(np.asarray(x).tobytes()).hexdigest()
    return [str(x.dtype), list(x.shape), bool(x.weak_type), content]


def describe_arrays(layer):
    flat, _ = jtu.tree_flatten_with_path(eqx.filter(layer, eqx.is_array))
    return [[jtu.keystr(path), describe_array(x)] for path, x in flat]


def without_addresses(text):
    return re.sub(" at 0x[0-9a-f]+", "", text)


def describe(make, key):
    try:
        layer = make(key=key)
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}"}
    arrays, static = eqx.partition(layer, eqx.is_array)
    return {
        "arrays": describe_arrays(layer),
        "tree": str(jtu.tree_structure(arrays)),
        "static": without_addresses(str(static)),
        "print": without_addresses(str(layer)),
    }


def describe_transformed(make, key, with_jit):
    params = lambda key: eqx.filter(make(key=key), eqx.is_array)
    shapes = jtu.tree_leaves(eqx.filter_eval_shape(params, key))
    out = {
        "jaxpr": str(jax.make_jaxpr(params)(key)),
        "vmap_jaxpr": str(jax.make_jaxpr(jax.vmap(params))(jr.split(key, 3))),
        "eval_shape": [str(x) for x in shapes],
    }
    if with_jit:
        out["jit"] = describe_arrays(jax.jit(params)(key))
    return out


def usual_layers():
    for index, (name, args, kwargs) in enumerate(layers()):
        title = f"{index} {name} {args} {sorted(kwargs)}"
        yield index, title, ft.partial(getattr(NN, name), *args, **kwargs)


def save(out: Path) -> None:
    record = {}
    key = jr.PRNGKey(0)
    for index, title, make in usual_layers():
        layer = record[title] = describe(make, key)
        layer |= describe_transformed(make, key, with_jit=index % 10 == 0)
        eqx.tree_serialise_leaves(out / f"{index}.eqx", make(key=key))
    # For other dtypes and kinds of keys, a selection.
    selection = [x for x in usual_layers() if x[0] % 11 == 0]
    for (_, title, make), dtype, (name, key) in it.product(selection, DTYPES, keys()):
        is_64_bit = dtype in (jnp.float64, jnp.complex128)
        with enable_x64(True) if is_64_bit else contextlib.nullcontext():
            title = f"{title} {dtype.__name__} {name}"
            record[title] = describe(ft.partial(make, dtype=dtype), key)
    (out / "record.json").write_text(json.dumps(record))


def load(out: Path) -> None:
    record = {}
    for index, title, make in usual_layers():
        like = make(key=jr.PRNGKey(1))
        loaded = eqx.tree_deserialise_leaves(out / f"{index}.eqx", like)
        record[title] = describe_arrays(loaded)
    (out / "loaded.json").write_text(json.dumps(record))


DTYPES = [
    jnp.float16,
    jnp.bfloat16,
    jnp.float32,
    jnp.float64,
    jnp.complex64,
    jnp.complex128,
]

if hasattr(jax, "enable_x64"):
    enable_x64 = jax.enable_x64
else:
    from jax.experimental import enable_x64


if __name__ == "__main__":
    {"save": save, "load": load}[sys.argv[1]](Path(sys.argv[2]))
    print(eqx.__file__)
