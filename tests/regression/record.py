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


# The programs are the same, as their jaxprs show, and so need not be optimised.
jax.config.update("jax_disable_most_optimizations", True)
NN = eqx.nn
# For all of these but 1, the last bits of `sqrt(1 / hidden)` and `1 / sqrt(hidden)`
# differ (before they are rounded to single precision).
HIDDEN = (1, 3, 6, 12, 65)


def layers():
    """Pairs of a name and a function of `dtype` and `key`."""
    for in_, out in it.product(["scalar", 0, 1, 3, 7, 49], ["scalar", 0, 5]):
        yield "Linear", (in_, out), dict(use_bias=in_ != 3)
    for n, prefix in it.product((1, 2, 3), ("Conv", "ConvTranspose")):
        for groups, bias, size in it.product((1, 3), (True, False), (1, 3)):
            kwargs = dict(groups=groups, use_bias=bias)
            yield f"{prefix}{n}d", (3, 6, size), kwargs
            yield prefix, (n, 6, 9, size), kwargs
    yield "Conv2d", (3, 5, (2, 3)), dict(padding="SAME", dilation=2)
    yield "Conv1d", (3, 5, 3), dict(padding_mode="CIRCULAR", padding=1)
    yield "ConvTranspose2d", (3, 5, (2, 3)), dict(stride=2, output_padding=1)
    for depth, scan in it.product(range(4), (False, True)):
        bias, final_bias = depth != 1, depth != 2
        kwargs = dict(scan=scan, use_bias=bias, use_final_bias=final_bias)
        yield "MLP", (3, 2, 7, depth), kwargs
    yield "MLP", ("scalar", "scalar", 7, 2), dict(activation=jnp.tanh)
    names = ("use_query_bias", "use_key_bias", "use_value_bias", "use_output_bias")
    for name in names:
        yield "MultiheadAttention", (2, 6), {name: True}
    sizes = dict(key_size=3, value_size=4, output_size=5, qk_size=6, vo_size=7)
    yield "MultiheadAttention", (3, 6), dict(sizes, dropout_p=0.5, inference=True)
    for hidden in (*HIDDEN, 7, 49):
        for name in ("GRUCell", "LSTMCell"):
            yield name, (3, hidden), {}
            yield name, (3, hidden), dict(use_bias=False)
    yield "GRUCell", (0, 3), {}
    yield "Embedding", (5, 3), {}
    yield "Embedding", (0, 3), {}
    for name in ("LayerNorm", "RMSNorm"):
        for weight, bias in it.product((True, False), repeat=2):
            yield name, ((2, 3),), dict(use_weight=weight, use_bias=bias)
        yield name, (6,), {}
        yield name, ((),), {}
    for affine in (True, False):
        yield "GroupNorm", (2, 6), dict(channelwise_affine=affine)
        for mode in ("ema", "batch"):
            kwargs = dict(channelwise_affine=affine, mode=mode)
            yield "BatchNorm", (6, "batch"), kwargs


def mistakes():
    """The same, but which cannot be made."""
    for args, kwargs in [((), {}), ((2, 2), dict(typo=1)), ((2, 2), dict(dtype="x"))]:
        for name in ("Linear", "GRUCell", "LSTMCell", "Embedding", "LayerNorm"):
            yield name, args, kwargs
    for name in ("Linear", "LSTMCell", "Embedding"):
        yield name, (-1, 2), {}
        yield name, ("x", 2), {}
    for name in ("Linear", "Conv1d", "GRUCell", "Embedding"):
        yield name, (2, 2, 1)[: 3 if "Conv" in name else 2], dict(dtype=jnp.int32)
    yield "Conv2d", (3, 4, 3), dict(groups=2)
    for name in ("Conv2d", "ConvTranspose2d"):
        yield name, (3, 4, (3, 3, 3)), {}
        yield name, (3, 4, 3), dict(padding="X")
        yield name, (0, 2, 1), {}
    yield "ConvTranspose2d", (4, 4, 3), dict(stride=1, output_padding=1)
    for depth, scan in it.product((-1, 1.5, "x"), (False, True)):
        yield "MLP", (2, 2, 2, depth), dict(scan=scan)
    yield "MultiheadAttention", (3,), {}
    yield "GRUCell", (2, 0), {}
    yield "LSTMCell", (2, 0), {}
    yield "GroupNorm", (3, 4), {}
    yield "GroupNorm", (2,), {}
    yield "BatchNorm", (4, "b"), dict(mode="x")
    yield "RMSNorm", (-1,), {}


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
        "tree": without_addresses(str(jtu.tree_structure(arrays))),
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
        jax.config.update("jax_disable_most_optimizations", False)
        out["jit"] = describe_arrays(jax.jit(params)(key))
        jax.config.update("jax_disable_most_optimizations", True)
    return out


def usual_layers(layers=layers):
    for index, (name, args, kwargs) in enumerate(layers()):
        title = f"{index} {name} {args} {sorted(kwargs)}"
        make = ft.partial(getattr(NN, name), *args, **kwargs)
        yield index, title, keyless(make) if "Norm" in name else make


def keyless(make):
    # Upstream's take no key.
    return lambda *, key, **kwargs: make(**kwargs)


def is_64_bit(dtype):
    return dtype in (jnp.float64, jnp.complex128)


def save(out: Path) -> None:
    record = {}
    key = jr.PRNGKey(0)
    for index, title, make in usual_layers():
        layer = record[title] = describe(make, key)
        layer |= describe_transformed(make, key, with_jit=index % 10 == 0)
        eqx.tree_serialise_leaves(out / f"{index}.eqx", make(key=key))
    for _, title, make in usual_layers(mistakes):
        record[f"mistake {title}"] = describe(make, key)
    # For other dtypes and kinds of keys, a selection.
    for (index, title, make), dtype in it.product(usual_layers(), DTYPES):
        if index % 11 == 0:
            some_keys = list(keys())
        elif "Cell (3, " in title and dtype is jnp.float64:
            some_keys = list(keys())[:1]
        else:
            some_keys = []
        for name, key in some_keys:
            with enable_x64(True) if is_64_bit(dtype) else contextlib.nullcontext():
                made = describe(ft.partial(make, dtype=dtype), key)
                record[f"{title} {dtype.__name__} {name}"] = made
    (out / "record.json").write_text(json.dumps(record), "utf-8")


def load(out: Path) -> None:
    record = {}
    for index, title, make in usual_layers():
        like = make(key=jr.PRNGKey(1))
        loaded = eqx.tree_deserialise_leaves(out / f"{index}.eqx", like)
        record[title] = describe_arrays(loaded)
    (out / "loaded.json").write_text(json.dumps(record), "utf-8")


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
