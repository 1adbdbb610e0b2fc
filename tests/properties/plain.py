"""What cannot be run under the type checker of the other tests, or on one device."""

import os


os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import warnings

import equinox as eqx
import jax
import jax.random as jrandom
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


# The default of newer versions of JAX.
jax.config.update("jax_threefry_partitionable", True)

init = eqx.nn.init
both = dict(weight_init=init.he_normal(), bias_init=init.zeros)


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
        except ValueError as e:
            assert "`key` must be given" in str(e)
        else:
            raise AssertionError
    finally:
        jax.config.update("jax_legacy_prng_key", "allow")


def layers(key):
    make = dict(
        linear=lambda **kwargs: eqx.nn.Linear(64, 64, **kwargs),
        conv=lambda **kwargs: eqx.nn.Conv2d(64, 64, 3, groups=8, **kwargs),
        lstm=lambda **kwargs: eqx.nn.LSTMCell(64, 64, **kwargs),
        mlp=lambda **kwargs: eqx.nn.MLP(64, 64, 64, 3, scan=True, **kwargs),
    )
    return {
        name: fn(**both, key=k)
        for (name, fn), k in zip(make.items(), jrandom.split(key, len(make)))
    }


def out_shardings():
    # Each device draws its own part only.
    mesh = Mesh(np.array(jax.devices()), ("x",))
    key = jrandom.PRNGKey(0)

    def params(key):
        return eqx.filter(layers(key), eqx.is_array)

    expected = params(key)

    def sharding(x):
        axis = next(i for i, size in enumerate(x.shape) if size % 8 == 0)
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, "x"))

    shardings = jax.tree.map(sharding, expected)
    fn = jax.jit(params, out_shardings=shardings)
    text = fn.lower(key).compile().as_text()
    assert "all-gather" not in text
    for x, y in zip(jax.tree.leaves(fn(key)), jax.tree.leaves(expected)):
        assert np.allclose(x, y, rtol=1e-5, atol=1e-6)


def explicit_sharding():
    if not hasattr(jax.sharding, "AxisType") or not hasattr(jax, "set_mesh"):
        return
    explicit = jax.make_mesh((8,), ("x",), (jax.sharding.AxisType.Explicit,))
    key = jrandom.PRNGKey(0)
    expected = layers(key)
    with jax.set_mesh(explicit):
        model = layers(key)
        same = lambda x, y: np.allclose(x, y, rtol=1e-5, atol=1e-6)
        assert jax.tree.all(
            jax.tree.map(
                same, *(eqx.filter(m, eqx.is_array) for m in (model, expected))
            )
        )
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
