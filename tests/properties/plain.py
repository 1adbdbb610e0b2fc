"""What cannot be run under the type checker of the other tests, or on one device."""

import functools as ft
import math
import os
import re


os.environ["JAX_PLATFORMS"] = "cpu"  # Of which there can be as many as we like.
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import warnings

import equinox as eqx
import jax
import jax.random as jrandom
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


# The default of newer versions of JAX.
jax.config.update("jax_threefry_partitionable", True)
jax.config.update("jax_disable_most_optimizations", True)  # To compile faster.

init = eqx.nn.init
both = dict(weight_init=init.he_normal(), bias_init=init.zeros)
# Before, XLA gathers the biases of recurrent cells, which are small.
is_new = jax.__version_info__ >= (0, 7)
bias_init = init.normal() if is_new else init.zeros
normals = dict(weight_init=init.normal(), bias_init=bias_init)


def numpy_sizes():
    six = np.int64(6)
    key = jrandom.PRNGKey(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of sizes being arrays, from upstream.
        layers = [
            eqx.nn.GroupNorm(2, six, weight_init=init.ones),
            eqx.nn.BatchNorm(six, "batch", mode="ema", weight_init=init.ones),
            eqx.nn.Linear(six, six, **both, key=key),
            eqx.nn.Conv1d(six, six, 3, groups=2, **both, key=key),
            eqx.nn.LSTMCell(six, six, **both, key=key),
            eqx.nn.Embedding(six, six, weight_init=init.ones, key=key),
            eqx.nn.Conv2d(six, six, np.int64(3), key=key),
            eqx.nn.LayerNorm(tuple(np.array([3, 3]))),
            eqx.nn.MLP(2, 2, 4, np.int64(2), **both, key=key),
            eqx.nn.MLP(2, 2, 4, jax.numpy.array(2), key=key),
        ]
        new = eqx.nn.reinitialise(layers, bias_init=init.ones, key=key)
    assert (new[0].weight == 1).all() and (new[2].bias == 1).all()


def legacy_keys():
    jax.config.update("jax_legacy_prng_key", "error")
    try:
        assert (eqx.nn.LayerNorm(3, weight_init=init.zeros).weight == 0).all()
        try:
            eqx.nn.LayerNorm(3, weight_init=init.normal())
        except TypeError as e:
            assert "key" in str(e)
        else:
            raise AssertionError
    finally:
        jax.config.update("jax_legacy_prng_key", "allow")


LAYERS = [
    ft.partial(eqx.nn.Linear, 64, 64),
    ft.partial(eqx.nn.Conv2d, 64, 64, 3),
    ft.partial(eqx.nn.Conv2d, 64, 64, 3, groups=8),
    ft.partial(eqx.nn.ConvTranspose2d, 64, 64, 2),
    ft.partial(eqx.nn.GRUCell, 64, 64),
    ft.partial(eqx.nn.LSTMCell, 64, 64),
    ft.partial(eqx.nn.MLP, 64, 64, 64, 3, scan=True),
    ft.partial(eqx.nn.MultiheadAttention, 8, 64),
    ft.partial(eqx.nn.LayerNorm, 64),
]


def layers(key, **kwargs):
    return [make(**kwargs, key=key) for make in LAYERS]


# Those that draw each element by itself; and those that do not.
ELEMENTWISE = [
    init.constant(0.5),
    init.uniform(-1, 1),
    init.normal(),
    init.truncated_normal(),
    init.fan_in_uniform(),
    init.variance_scaling(1.0, "fan_out", "normal"),
    init.he_uniform(),
    init.he_normal(),
    init.identity(),
    jax.nn.initializers.glorot_uniform(),
]
BY_MATRIX = [init.orthogonal(), jax.nn.initializers.orthogonal()]


def sharding(mesh, x):
    # Three gates do not split evenly. So of these, split what is within a gate.
    three_gates = x.shape[0] == 3 * 64
    if three_gates and x.ndim == 1:
        return NamedSharding(mesh, PartitionSpec())
    axes = [i for i, size in enumerate(x.shape) if size % mesh.size == 0]
    axis = axes[three_gates]
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "x"))


def largest_buffer(compiled):
    shapes = re.findall(r"\b(?:f32|s32|u32)\[([\d,]+)\]", compiled.as_text())
    return max(math.prod(map(int, shape.split(","))) for shape in shapes)


def check_shards(fn, *, is_elementwise=True):
    mesh = Mesh(np.array(jax.devices()), ("x",))
    key = jrandom.PRNGKey(0)
    arrays = lambda key: jax.tree.leaves(eqx.filter(fn(key), eqx.is_array))
    expected = arrays(key)
    shardings = [sharding(mesh, x) for x in expected]
    compiled = jax.jit(arrays, out_shardings=shardings).lower(key).compile()
    for x, y in zip(compiled(key), expected, strict=True):
        # The values do not depend on how many devices there are.
        assert np.allclose(x, y, rtol=1e-5, atol=1e-6)
        shares = 1 if x.sharding.is_fully_replicated else mesh.size
        assert all(s.data.nbytes * shares == x.nbytes for s in x.addressable_shards)
    largest = max(x.size for x in expected)
    if is_elementwise:
        # Each device draws its own part, and holds nothing that is larger.
        assert "all-gather" not in compiled.as_text()
        assert largest_buffer(compiled) <= largest // mesh.size
    else:
        # A matrix is decomposed on every device.
        assert largest_buffer(compiled) >= largest


def out_shardings():
    for make in LAYERS:
        check_shards(lambda key: make(**normals, key=key))
    for each in ELEMENTWISE:
        conv = lambda key: eqx.nn.Conv2d(64, 64, 3, groups=2, weight_init=each, key=key)
        check_shards(conv)
    for each in BY_MATRIX:
        linear = lambda key: eqx.nn.Linear(64, 64, weight_init=each, key=key)
        check_shards(linear, is_elementwise=False)
    model = eqx.filter_eval_shape(layers, jrandom.PRNGKey(0))
    check_shards(lambda key: eqx.nn.reinitialise(model, **both, key=key))


def explicit_sharding():
    if not hasattr(jax.sharding, "AxisType") or not hasattr(jax, "set_mesh"):
        return
    explicit = jax.make_mesh((8,), ("x",), (jax.sharding.AxisType.Explicit,))
    key = jrandom.PRNGKey(0)
    arrays = lambda tree: eqx.filter(tree, eqx.is_array)
    expected = layers(key, **normals)
    with jax.set_mesh(explicit):
        model = layers(key, **normals)
        same = lambda x, y: np.allclose(x, y, rtol=1e-5, atol=1e-6)
        same_trees = jax.tree.map(same, arrays(model), arrays(expected))
        assert jax.tree.all(same_trees)
        eqx.nn.reinitialise(model, key=key)
        eqx.nn.reinitialise(model, **both, key=key)


def wrong_arguments():
    # Those that a type checker would refuse before the layer does.
    import test_random

    test_random.test_wrong_arguments()
    test_random.test_wrong_numbers()


if __name__ == "__main__":
    warnings.simplefilter("error")
    for fn in (
        numpy_sizes,
        legacy_keys,
        out_shardings,
        explicit_sharding,
        wrong_arguments,
    ):
        fn()
        print(fn.__name__, flush=True)
