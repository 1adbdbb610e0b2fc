"""Every initialiser: for every dtype and kind of key, and transformed."""

import contextlib
import functools as ft
import math

import equinox as eqx
import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import numpy as np
import pytest


init = eqx.nn.init

if hasattr(jax, "enable_x64"):
    enable_x64 = jax.enable_x64
else:
    from jax.experimental import enable_x64  # pyright: ignore

DTYPES = [
    jnp.float16,
    jnp.bfloat16,
    jnp.float32,
    jnp.float64,
    jnp.complex64,
    jnp.complex128,
]
INITIALISERS = [
    init.zeros,
    init.ones,
    init.constant(0.5),
    init.uniform(-1, 1),
    init.normal(),
    init.truncated_normal(),
    init.fan_in_uniform(),
    init.variance_scaling(1.5, "fan_out", "normal"),
    init.glorot_normal(),
    init.glorot_uniform(),
    init.he_normal(),
    init.he_uniform(),
    init.lecun_normal(),
    init.lecun_uniform(),
    init.orthogonal(),
    init.delta_orthogonal(),
    init.identity(),
    init.sparse(0.5),
]


def x64(dtype):
    is_64_bit = jnp.finfo(dtype).bits == 64
    return enable_x64(True) if is_64_bit else contextlib.nullcontext()


@pytest.mark.parametrize("initialiser", INITIALISERS, ids=repr)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_transformations(initialiser, dtype, getkey):
    with x64(dtype):
        for shape in [(3, 3, 4), (0, 3, 3), (3, 0, 3), (3, 3, 0)]:
            out = init.draw(initialiser, getkey(), shape, dtype)
            assert out.shape == shape and out.dtype == dtype and not out.weak_type
            assert jnp.isfinite(out).all()

        make = ft.partial(
            eqx.nn.Conv1d, 3, 4, 3, weight_init=initialiser, use_bias=False, dtype=dtype
        )
        weight = lambda key: make(key=key).weight
        for key in [jrandom.PRNGKey(0), jrandom.key(0), jrandom.key(0, impl="rbg")]:
            out = weight(key)
            assert out.shape == (4, 3, 3) and out.dtype == dtype
            struct = jax.eval_shape(weight, key)
            assert struct.shape == (4, 3, 3) and struct.dtype == dtype
        tol = 1e-2 if jnp.finfo(dtype).bits == 16 else 1e-5
        close = ft.partial(np.allclose, rtol=tol, atol=tol)
        wide = lambda x: np.asarray(x).astype(np.complex128)
        assert close(wide(out), wide(jax.jit(weight)(key)))
        keys = jrandom.split(jrandom.key(0), 2)
        batch = jax.vmap(weight)(keys)
        for member, key in zip(batch, keys, strict=True):
            assert close(wide(member), wide(weight(key)))


def test_leaks_nothing(getkey):
    with jax.checking_leaks():
        for initialiser in INITIALISERS:
            make = ft.partial(eqx.nn.Conv1d, 3, 4, 3, weight_init=initialiser)
            jax.jit(lambda key: make(key=key).weight)(getkey())


def std(x):
    return math.sqrt(np.mean(np.abs(np.asarray(x)) ** 2))


# Each weight with its fans.
def linear(*sizes):
    make = ft.partial(eqx.nn.Linear, *sizes)
    return lambda **kwargs: [(make(**kwargs).weight, *sizes)]


def convolution(name, in_, out, size, groups):
    def make(**kwargs):
        conv = getattr(eqx.nn, name)(in_, out, size, groups=groups, **kwargs)
        area = math.prod(conv.kernel_size)
        return [(conv.weight, in_ // groups * area, out // groups * area)]

    return make


def cell(cls):
    def make(**kwargs):
        cell = cls(96, 160, **kwargs)
        return [(cell.weight_ih, 96, 160), (cell.weight_hh, 160, 160)]

    return make


def embedding(**kwargs):
    return [(eqx.nn.Embedding(4000, 64, **kwargs).weight, 4000, 64)]


LAYERS = {
    "Linear(1024, 256)": linear(1024, 256),
    "Linear(256, 1024)": linear(256, 1024),
    "Embedding": embedding,
    "GRUCell": cell(eqx.nn.GRUCell),
    "LSTMCell": cell(eqx.nn.LSTMCell),
} | {
    f"{name}{args}": convolution(name, *args)
    for name, args in [
        (name, args)
        for name in ("Conv2d", "ConvTranspose2d")
        for args in [(64, 32, 3, 1), (64, 512, 3, 8), (512, 2048, 3, 512)]
    ]
    + [("Conv1d", (128, 64, 5, 2)), ("ConvTranspose3d", (64, 16, (1, 2, 3), 1))]
}


def by_hand(key, shape, dtype):
    return jrandom.normal(key, shape, dtype) * math.sqrt(2 / math.prod(shape[:-1]))


FAN_IN = lambda fan_in, fan_out: 2 / fan_in
FAN_OUT = lambda fan_in, fan_out: 1 / fan_out
FAN_AVG = lambda fan_in, fan_out: 2 / (fan_in + fan_out)
SCHEMES = {
    "JAX's he_normal": (jinit.he_normal(), FAN_IN),
    "JAX's glorot_uniform": (jinit.glorot_uniform(), FAN_AVG),
    "JAX's fan_out": (jinit.variance_scaling(1.0, "fan_out", "normal"), FAN_OUT),
    "our he_normal": (init.he_normal(), FAN_IN),
    "our glorot_uniform": (init.glorot_uniform(), FAN_AVG),
    "our fan_out": (init.variance_scaling(1.0, "fan_out", "normal"), FAN_OUT),
    "a wrapper": (lambda *args: jinit.he_normal()(*args), FAN_IN),
    "by hand": (by_hand, FAN_IN),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("layer", LAYERS)
def test_standard_deviation(layer, scheme):
    initialiser, variance = SCHEMES[scheme]
    drawn = LAYERS[layer](weight_init=initialiser, key=jrandom.PRNGKey(0))
    for weight, fan_in, fan_out in drawn:
        expected = math.sqrt(variance(fan_in, fan_out))
        assert std(weight) == pytest.approx(expected, rel=0.03)
