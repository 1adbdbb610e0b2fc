import contextlib
import copy
import functools as ft
import inspect
import math
import pickle
from typing import Any

import equinox as eqx
import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import jax.tree_util as jtu
import numpy as np
import pytest


init = eqx.nn.init

if hasattr(jax, "enable_x64"):
    enable_x64 = jax.enable_x64
else:
    from jax.experimental import enable_x64  # pyright: ignore

real_dtypes = [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64]
complex_dtypes = [jnp.complex64, jnp.complex128]

for_matrices = [
    init.orthogonal(),
    init.delta_orthogonal(),
    init.identity(),
    init.sparse(0.5),
]
by_fans = [
    init.fan_in_uniform(),
    init.variance_scaling(1.5, "fan_out", "normal"),
    init.variance_scaling(1.5, "fan_geo_avg", "uniform"),
    init.glorot_normal(),
    init.glorot_uniform(),
    init.he_normal(),
    init.he_uniform(),
    init.lecun_normal(),
    init.lecun_uniform(),
]
by_shape = [
    init.zeros,
    init.ones,
    init.constant(0.5),
    init.uniform(-1, 1),
    init.normal(),
    init.truncated_normal(),
    init.from_jax(jinit.normal()),
]
all_initialisers = for_matrices + by_fans + by_shape


def x64(dtype):
    is_64_bit = jnp.finfo(dtype).bits == 64
    return enable_x64(True) if is_64_bit else contextlib.nullcontext()


def std(x):
    return math.sqrt(np.mean(np.abs(np.asarray(x).astype(np.complex128)) ** 2))


def convolutions(in_channels, out_channels, kernel_size, groups=1, **kwargs):
    for prefix in ("Conv", "ConvTranspose"):
        general = getattr(eqx.nn, prefix)
        args = (in_channels, out_channels, kernel_size)
        kwargs = dict(kwargs, groups=groups)
        for n in (1, 2, 3):
            yield general(n, *args, **kwargs)
            yield getattr(eqx.nn, f"{prefix}{n}d")(*args, **kwargs)


#
# What is drawn
#


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"])
@pytest.mark.parametrize("distribution", ["normal", "truncated_normal", "uniform"])
def test_fans(mode, distribution, getkey):
    scaling = init.variance_scaling(2.0, mode, distribution)

    def expected(fan_in, fan_out):
        n = dict(
            fan_in=fan_in,
            fan_out=fan_out,
            fan_avg=(fan_in + fan_out) / 2,
            fan_geo_avg=math.sqrt(fan_in * fan_out),
        )[mode]
        return pytest.approx(math.sqrt(2.0 / n), rel=0.03)

    both: dict[str, Any] = dict(weight_init=scaling, bias_init=scaling)
    linear = eqx.nn.Linear(256, 128, **both, key=getkey())
    assert std(linear.weight) == expected(256, 128)
    linear = eqx.nn.Linear(16, 40000, **both, key=getkey())
    assert std(linear.bias) == expected(16, 40000)

    for cls in (eqx.nn.Conv, eqx.nn.ConvTranspose):
        for groups in (1, 8):
            conv = cls(2, 64, 512, 3, groups=groups, **both, key=getkey())
            fans = (64 // groups * 9, 512 // groups * 9)
            assert std(conv.weight) == expected(*fans)
            conv = cls(1, 8, 40000, 2, groups=groups, **both, key=getkey())
            assert std(conv.bias) == expected(8 // groups * 2, 40000 // groups * 2)


def test_fan_in_uniform_is_default(getkey):
    def check(make):
        key = getkey()
        default = make(key=key)
        explicit = make(
            weight_init=init.fan_in_uniform(),
            bias_init=init.fan_in_uniform(),
            key=key,
        )
        assert eqx.tree_equal(default, explicit, typematch=True)

    for dtype in (jnp.float16, jnp.float32, jnp.complex64):
        check(ft.partial(eqx.nn.Linear, 3, 4, dtype=dtype))
        check(ft.partial(eqx.nn.Linear, "scalar", "scalar", dtype=dtype))
        check(ft.partial(eqx.nn.Linear, 0, 4, dtype=dtype))
    for groups in (1, 2):
        check(ft.partial(eqx.nn.Conv2d, 4, 6, 3, groups=groups))
        check(ft.partial(eqx.nn.ConvTranspose1d, 4, 6, 3, groups=groups))
    for scan in (False, True):
        check(ft.partial(eqx.nn.MLP, 3, 4, 5, 3, scan=scan))
    check(ft.partial(eqx.nn.MultiheadAttention, 2, 4, use_query_bias=True))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32, jnp.complex64])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (6, 4, 3), (6, 4, 3, 2)])
def test_same_as_jax(shape, dtype, getkey):
    axes = dict(in_axis=1, out_axis=0)
    is_real = not jnp.issubdtype(dtype, jnp.complexfloating)
    pairs = [
        (init.zeros, jinit.zeros),
        (init.ones, jinit.ones),
        (init.constant(2.5), jinit.constant(2.5)),
        (init.normal(), jinit.normal()),
        (init.normal(3.0), jinit.normal(3.0)),
        (init.glorot_normal(), jinit.glorot_normal(**axes)),
        (init.glorot_uniform(), jinit.glorot_uniform(**axes)),
        (init.he_normal(), jinit.he_normal(**axes)),
        (init.he_uniform(), jinit.he_uniform(**axes)),
        (init.lecun_normal(), jinit.lecun_normal(**axes)),
        (init.lecun_uniform(), jinit.lecun_uniform(**axes)),
    ]
    for mode in ("fan_in", "fan_out", "fan_avg"):
        for distribution in ("truncated_normal", "normal", "uniform"):
            args = (0.7, mode, distribution)
            pair = (init.variance_scaling(*args), jinit.variance_scaling(*args, **axes))
            pairs.append(pair)
    if is_real:
        pairs.append((init.truncated_normal(), jinit.truncated_normal()))
        ours = init.truncated_normal(2.0, -1, 3)
        pairs.append((ours, jinit.truncated_normal(2.0, lower=-1.0, upper=3.0)))
        pairs.append((init.uniform(0, 2), jinit.uniform(2.0)))
    if dtype != jnp.float16:
        theirs = jinit.orthogonal(2.0, column_axis=0)
        pairs.append((init.orthogonal(2.0), theirs))
    for ours, theirs in pairs:
        key = getkey()
        ours, theirs = ours(key, shape, dtype), theirs(key, shape, dtype)
        assert ours.dtype == theirs.dtype == dtype
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_from_jax(getkey):
    key = getkey()
    adapted = init.from_jax(jinit.he_normal())
    out = adapted(key, (32, 64, 3, 2))
    assert out.shape == (32, 64, 3, 2)
    theirs = jinit.he_normal()(key, (3, 2, 64, 32))
    assert np.array_equal(out, jnp.transpose(theirs, (3, 2, 0, 1)))
    linear = eqx.nn.Linear(1024, 256, weight_init=adapted, key=key)
    assert std(linear.weight) == pytest.approx(math.sqrt(2 / 1024), rel=0.03)
    conv = eqx.nn.Conv2d(64, 32, 3, weight_init=adapted, key=key)
    assert std(conv.weight) == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.03)
    # The shape of a bias is that which it has in Flax.
    shapes = []

    def spy(key, shape, dtype):
        shapes.append(shape)
        return jnp.ones(shape, dtype)

    conv = eqx.nn.Conv2d(2, 3, 1, bias_init=init.from_jax(spy), key=key)
    assert shapes == [(3,)]
    assert conv.bias is not None and conv.bias.shape == (3, 1, 1)
    with pytest.raises(ValueError):
        eqx.nn.Linear(2, 3, bias_init=adapted, key=key)
    with pytest.raises(TypeError, match="`initializer`.*did you mean"):
        init.from_jax(jinit.he_normal)(key, (3, 3))  # pyright: ignore


@pytest.mark.parametrize("dtype", real_dtypes + complex_dtypes)
def test_orthogonal(dtype, getkey):
    atol = 1e-2 if jnp.finfo(dtype).bits == 16 else 1e-5
    with x64(dtype):
        for shape in [(4, 7), (7, 4), (5, 5), (4, 3, 3), (32, 2, 3, 2)]:
            out = init.orthogonal(2.0)(getkey(), shape, dtype)
            assert out.dtype == dtype
            matrix = np.asarray(out).astype(np.complex128).reshape(shape[0], -1)
            if matrix.shape[0] > matrix.shape[1]:
                matrix = matrix.T
            gram = matrix @ matrix.conj().T
            assert np.allclose(gram, 4 * np.eye(len(gram)), atol=4 * atol)


@pytest.mark.parametrize("dtype", real_dtypes + complex_dtypes)
def test_delta_orthogonal(dtype, getkey):
    atol = 1e-2 if jnp.finfo(dtype).bits == 16 else 1e-5
    with x64(dtype):
        for spatial in [(3,), (4, 3), (1, 3, 5)]:
            out = init.delta_orthogonal()(getkey(), (6, 4, *spatial), dtype)
            assert out.dtype == dtype
            out = np.array(out).astype(np.complex128)
            centre = [(size - 1) // 2 for size in spatial]
            index: Any = (slice(None), slice(None), *centre)
            tap = out[index]
            assert np.allclose(tap.conj().T @ tap, np.eye(4), atol=atol)
            out[index] = 0
            assert not out.any()
    with pytest.raises(ValueError, match="no more inputs than outputs"):
        init.delta_orthogonal()(getkey(), (4, 6, 3))
    with pytest.raises(ValueError, match="spatial dimensions"):
        init.delta_orthogonal()(getkey(), (4, 4))
    with pytest.raises(ValueError, match="spatial dimensions"):
        eqx.nn.Linear(4, 4, weight_init=init.delta_orthogonal(), key=getkey())


def test_identity(getkey):
    for in_, out in [(4, 4), (3, 5), (5, 3)]:
        linear = eqx.nn.Linear(
            in_, out, weight_init=init.identity(), use_bias=False, key=getkey()
        )
        assert np.array_equal(linear.weight, np.eye(out, in_))
    kwargs: dict[str, Any] = dict(
        weight_init=init.identity(2.0), use_bias=False, key=getkey()
    )
    for groups in (1, 2, 4):
        for conv in convolutions(4, 4, 3, groups, padding=1, **kwargs):
            x = jrandom.normal(getkey(), (4,) + (5,) * conv.num_spatial_dims)
            assert np.array_equal(conv(x), 2 * x)
    for size in (2, 4):
        for cls in (eqx.nn.Conv2d, eqx.nn.ConvTranspose2d):
            conv = cls(4, 4, size, padding="SAME", **kwargs)
            x = jrandom.normal(getkey(), (4, 5, 6))
            assert np.array_equal(conv(x), 2 * x)
    # Two outputs for each group of one input: the second is zero.
    conv = eqx.nn.Conv1d(3, 6, 3, padding=1, groups=3, **kwargs)
    x = jrandom.normal(getkey(), (3, 5))
    assert np.array_equal(conv(x)[::2], 2 * x)
    assert not conv(x)[1::2].any()


def test_sparse(getkey):
    for sparsity in (0.0, 0.1, 0.25, 1 / 3, 1.0):
        for shape in [(30, 200), (30, 10, 5, 4)]:
            out = np.asarray(init.sparse(sparsity, stddev=2.0)(getkey(), shape))
            num_zeros = (out.reshape(30, -1) == 0).sum(axis=0)
            assert (num_zeros == math.ceil(sparsity * 30)).all()
            if sparsity < 1:
                assert std(out[out != 0]) == pytest.approx(2.0, rel=0.06)
    # Which are zero differs from column to column.
    zero = np.asarray(init.sparse(0.5)(getkey(), (30, 200))) == 0
    assert len(np.unique(zero, axis=1).T) > 190


def test_uniform(getkey):
    out = init.uniform(-1, 3)(getkey(), (100, 100))
    assert -1 <= out.min() < -0.99 and 2.99 < out.max() <= 3
    assert out.mean() == pytest.approx(1, abs=0.05)
    out = init.uniform(-1, 3)(getkey(), (100, 100), jnp.complex64)
    for part in (out.real, out.imag):
        assert -1 <= part.min() < -0.99 and 2.99 < part.max() <= 3
    out = init.uniform(1, 1)(getkey(), (5, 5))
    assert (out == 1).all()


def test_complex_std(getkey):
    shape = (300, 300)
    for initialiser in (
        init.normal(3.0),
        init.truncated_normal(3.0, -8, 8),
        init.variance_scaling(9 * 300, "fan_in", "uniform"),
        init.variance_scaling(9 * 300, "fan_in", "truncated_normal"),
    ):
        assert std(initialiser(getkey(), shape)) == pytest.approx(3.0, rel=0.03)
        out = initialiser(getkey(), shape, jnp.complex64)
        assert std(out) == pytest.approx(3.0, rel=0.03)
        assert std(out.real) == pytest.approx(std(out.imag), rel=0.03)


def test_constant(getkey):
    array = jnp.arange(3.0)
    linear = eqx.nn.Linear(3, 2, weight_init=init.constant(array), key=getkey())
    assert np.array_equal(linear.weight, np.broadcast_to(np.arange(3), (2, 3)))
    out = init.constant(1 + 2j)(getkey(), (2,), jnp.complex64)
    assert (out == 1 + 2j).all()
    with pytest.raises(TypeError, match="`value`.*float32"):
        init.constant(1j)(getkey(), (2,), jnp.float32)
    with pytest.raises(TypeError, match="dtype"):
        init.constant(0.5)(getkey(), (2,), jnp.int32)
    assert init.constant(2)(getkey(), (2,), jnp.int32).dtype == jnp.int32
    for shape in [(2, 2), (), (2,)]:
        with pytest.raises(ValueError, match="`value` of `constant` has shape"):
            init.constant(array)(getkey(), shape)


@pytest.mark.parametrize("initialiser", all_initialisers, ids=repr)
@pytest.mark.parametrize("dtype", real_dtypes + complex_dtypes)
def test_dtypes_and_transformations(initialiser, dtype, getkey):
    shape = (4, 3, 3)
    with x64(dtype):
        out = initialiser(getkey(), shape, dtype)
        assert out.shape == shape
        assert out.dtype == dtype
        assert not out.weak_type
        assert jnp.isfinite(out).all()
        for shape in [(0, 3, 3), (0, 0, 3), (3, 0, 3), (3, 3, 0)]:
            out = initialiser(getkey(), shape, dtype)
            assert out.shape == shape
            assert out.dtype == dtype

        make = ft.partial(
            eqx.nn.Conv1d, 3, 4, 3, weight_init=initialiser, use_bias=False, dtype=dtype
        )
        keys = [jrandom.PRNGKey(0), jrandom.key(0), jrandom.key(0, impl="rbg")]
        for key in keys:
            weight = make(key=key).weight
            assert weight.shape == (4, 3, 3) and weight.dtype == dtype
            struct = eqx.filter_eval_shape(make, key=key)
            assert struct.weight.shape == (4, 3, 3) and struct.weight.dtype == dtype
        weight = make(key=keys[-1]).weight
        jit_weight = eqx.filter_jit(make)(key=keys[-1]).weight
        tol = 1e-2 if jnp.finfo(dtype).bits == 16 else 1e-5
        a, b = (np.asarray(w).astype(np.complex128) for w in (weight, jit_weight))
        assert np.allclose(a, b, rtol=tol, atol=tol)
        batch = jax.vmap(lambda k: make(key=k).weight)(jrandom.split(keys[0], 2))
        assert batch.shape == (2, 4, 3, 3)


@pytest.mark.parametrize("initialiser", all_initialisers, ids=repr)
def test_zero_sizes_on_layers(initialiser, getkey):
    bias_init = None if initialiser in for_matrices else initialiser
    kwargs: dict[str, Any] = dict(weight_init=initialiser, bias_init=bias_init)
    if initialiser != init.delta_orthogonal():
        for in_, out in [(0, 3), (3, 0), (0, 0)]:
            linear = eqx.nn.Linear(in_, out, **kwargs, key=getkey())
            assert linear.weight.shape == (out, in_)
            assert linear.bias is not None
            assert jnp.isfinite(linear.bias).all()
    for conv in convolutions(0, 3, 2, **kwargs, key=getkey()):
        assert conv.weight.size == 0
        assert jnp.isfinite(conv.bias).all()


def test_leaks_nothing(getkey):
    with jax.checking_leaks():
        for initialiser in all_initialisers:
            make = ft.partial(eqx.nn.Conv1d, 3, 4, 3, weight_init=initialiser)
            jax.jit(lambda k: make(key=k).weight)(getkey())


def test_by_hand_needs_fans(getkey):
    for initialiser in by_fans:
        with pytest.raises(ValueError, match="fan_in.*\\(out, in, \\*spatial\\)"):
            initialiser(getkey(), (3,))
    for initialiser in for_matrices:
        with pytest.raises(ValueError, match="\\(out, in, \\*spatial\\)"):
            initialiser(getkey(), (3,))
        for make in (
            ft.partial(eqx.nn.Linear, 3, 3),
            ft.partial(eqx.nn.Conv1d, 3, 3, 3),
        ):
            with pytest.raises(ValueError, match="`bias_init`.*for matrices"):
                make(bias_init=initialiser, key=getkey())


def test_calculate_gain():
    gain = init.calculate_gain
    for name in ("linear", "conv1d", "conv2d", "conv3d", "sigmoid"):
        assert gain(name) == 1
    for name in ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"):
        assert gain(name) == 1
    assert gain("tanh") == pytest.approx(5 / 3)
    assert gain("relu") == pytest.approx(math.sqrt(2))
    assert gain("selu") == pytest.approx(3 / 4)
    assert gain("leaky_relu") == pytest.approx(math.sqrt(2 / (1 + 0.01**2)))
    assert gain("leaky_relu", 1) == pytest.approx(1)
    assert gain("leaky_relu", 0.5) == pytest.approx(math.sqrt(1.6))
    with pytest.raises(ValueError, match="`nonlinearity` must be one of .*'tanh'"):
        gain("gelu")
    with pytest.raises(ValueError, match="`param`"):
        gain("leaky_relu", True)


#
# Initialisers are values
#


def examples():
    return [
        init.zeros,
        init.ones,
        init.constant(3),
        init.constant(jnp.arange(3.0)),
        init.uniform(-1, 2),
        init.normal(0.5),
        init.normal(jnp.array(0.5)),
        init.truncated_normal(0.5, -1, 3),
        init.fan_in_uniform(),
        init.variance_scaling(0.5, "fan_avg", "uniform"),
        init.glorot_normal(),
        init.glorot_uniform(),
        init.he_normal(),
        init.he_uniform(),
        init.lecun_normal(),
        init.lecun_uniform(),
        init.orthogonal(0.5),
        init.delta_orthogonal(0.5),
        init.identity(0.5),
        init.sparse(0.5, 0.1),
        init.from_jax(jinit.zeros),
    ]


def test_compare_hash_pickle():
    for i, x in enumerate(examples()):
        for j, y in enumerate(examples()):
            assert bool(x == y) == (i == j)
            if i == j:
                assert hash(x) == hash(y)
        assert pickle.loads(pickle.dumps(x)) == x
        assert copy.deepcopy(x) == x
        assert x != "something else"
    assert init.normal(1) == init.normal(1.0) == init.normal(np.float32(1))
    assert hash(init.normal(1)) == hash(init.normal(np.array(1.0)))
    assert init.kaiming_normal() == init.he_normal()
    assert init.kaiming_uniform() == init.he_uniform()
    assert init.xavier_normal() == init.glorot_normal()
    assert init.xavier_uniform() == init.glorot_uniform()


def test_print():
    for x in examples():
        if any(isinstance(leaf, jax.Array) for leaf in jtu.tree_leaves(x)):
            continue
        if x == init.from_jax(jinit.zeros):
            continue
        assert eval(repr(x), dict(vars(init))) == x
    assert repr(init.zeros) == str(init.zeros) == "zeros"
    assert repr(init.he_normal()) == "he_normal()"
    assert repr(init.from_jax(init.zeros)) == "from_jax(initializer=zeros)"
    assert jtu.tree_map(lambda x: x + 1, init.zeros) == init.zeros
    with pytest.raises(TypeError, match="int32"):
        init.identity(2.5)(jrandom.key(0), (2, 2), jnp.int32)
    assert repr(init.orthogonal(2)) == "orthogonal(scale=2.0)"


def test_immutable():
    for x in examples():
        for name in ("value", "scale", "stddev", "initialiser", "something_else"):
            with pytest.raises(AttributeError):
                setattr(x, name, 1)


def test_sweep_and_gradient(getkey):
    key = getkey()
    stddevs = jnp.array([0.1, 1.0, 10.0])

    @eqx.filter_vmap(in_axes=(eqx.if_array(0), None))
    def draw(initialiser, key):
        return eqx.nn.Linear(50, 50, weight_init=initialiser, key=key).weight

    swept = draw(init.normal(stddevs), key)
    for weight, stddev in zip(swept, stddevs, strict=True):
        expected = draw.__wrapped__(init.normal(float(stddev)), key)
        assert np.allclose(weight, expected)

    @eqx.filter_grad
    def grad(initialiser):
        return jnp.sum(draw.__wrapped__(initialiser, key) ** 2)

    for make in (
        init.normal,
        init.orthogonal,
        init.constant,
        init.identity,
        ft.partial(init.sparse, 0.5),
        lambda scale: init.uniform(-scale, scale),
        lambda scale: init.variance_scaling(scale**2, "fan_in", "normal"),
    ):
        # All of these are linear in their scale.
        value = jnp.sum(draw.__wrapped__(make(jnp.array(2.0)), key) ** 2)
        gradient = eqx.filter_grad(
            lambda scale: jnp.sum(draw.__wrapped__(make(scale), key) ** 2)
        )(jnp.array(2.0))
        assert gradient == pytest.approx(float(value), rel=1e-4)
    assert grad(init.normal(jnp.array(1.0))).stddev.shape == ()

    # Also those arguments of which it is not an array that is computed.
    sparsity = jnp.array([0.0, 0.5, 1.0])
    num_zeros = (draw(init.sparse(sparsity), key) == 0).sum(axis=(1, 2))
    assert num_zeros.tolist() == [0, 1250, 2500]
    upper = draw(init.truncated_normal(1.0, -1, jnp.array([0.0, 3.0])), key)
    assert upper[0].max() <= 0 < upper[1].max()


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: init.normal(-1), "`stddev` must not be negative"),
        (lambda: init.normal(math.nan), "`stddev` must be finite"),
        (lambda: init.truncated_normal(math.inf), "`stddev` must be finite"),
        (lambda: init.truncated_normal(1, 2, 2), "`lower < upper`"),
        (lambda: init.truncated_normal(1, -math.inf), "`lower` must be finite"),
        (lambda: init.uniform(1, 0), "`minval <= maxval`"),
        (lambda: init.sparse(1.5), "`sparsity` must be between 0 and 1"),
        (lambda: init.sparse(-0.5), "`sparsity` must be between 0 and 1"),
        (lambda: init.sparse(0.5, -1), "`stddev` must not be negative"),
        (lambda: init.orthogonal(math.inf), "`scale` must be finite"),
        (
            lambda: init.variance_scaling(-1, "fan_in", "normal"),
            "`scale` must not be negative",
        ),
    ],
)
def test_bad_values(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_bad_types(getkey):
    for bad in ("0.1", None, 1j, True, [1.0], getkey):
        for make in (
            init.normal,
            init.truncated_normal,
            init.orthogonal,
            init.delta_orthogonal,
            init.identity,
            init.sparse,
            lambda x: init.uniform(0.0, x),
            lambda x: init.variance_scaling(x, "fan_in", "normal"),
        ):
            with pytest.raises(TypeError):
                make(bad)  # pyright: ignore
    with pytest.raises(TypeError, match="`stddev` must be a real number"):
        init.normal(jnp.array(True))
    with pytest.raises(TypeError, match="`stddev` must be a real number"):
        init.normal(jrandom.key(0))
    with pytest.raises(TypeError):
        init.constant("zeros")  # pyright: ignore
    for bad in ("fan", "FAN_IN", None):
        with pytest.raises((TypeError, ValueError), match="mode"):
            init.variance_scaling(1, bad, "normal")  # pyright: ignore
        with pytest.raises((TypeError, ValueError), match="distribution"):
            init.variance_scaling(1, "fan_in", bad)  # pyright: ignore


#
# Layers
#


def test_layers_draw_one_parameter(getkey):
    # Giving one initialiser leaves the other parameter as it was, and draws no more.
    def check(make, num_biases):
        key = getkey()
        default = make(key=key)
        zero_bias = make(bias_init=init.zeros, key=key)
        one_weight = make(weight_init=init.ones, key=key)

        def leaves(model):
            flat = jtu.tree_flatten_with_path(eqx.filter(model, eqx.is_array))[0]
            flat = [("bias" in jtu.keystr(path), leaf) for path, leaf in flat]
            weights = [leaf for is_bias, leaf in flat if not is_bias]
            biases = [leaf for is_bias, leaf in flat if is_bias]
            assert len(biases) == num_biases
            return weights, biases

        weights, biases = leaves(default)
        assert eqx.tree_equal(leaves(zero_bias)[0], weights)
        assert eqx.tree_equal(leaves(one_weight)[1], biases)
        assert not any(x.any() for x in leaves(zero_bias)[1])
        assert all((x == 1).all() for x in leaves(one_weight)[0])
        assert jtu.tree_structure(default) == jtu.tree_structure(zero_bias)
        assert jtu.tree_structure(default) == jtu.tree_structure(one_weight)
        arrays = lambda model: eqx.filter(model, eqx.is_array)
        make_both = ft.partial(make, weight_init=init.zeros, bias_init=init.ones)
        draws = str(jax.make_jaxpr(lambda k: arrays(make_both(key=k)))(key))
        assert "random_bits" not in draws and "threefry2x32" not in draws

    check(ft.partial(eqx.nn.Linear, 3, 4), 1)
    check(ft.partial(eqx.nn.Linear, "scalar", 4), 1)
    check(ft.partial(eqx.nn.Linear, 3, 4, use_bias=False), 0)
    for cls in (eqx.nn.Conv, eqx.nn.ConvTranspose):
        check(ft.partial(cls, 2, 4, 6, 3, groups=2), 1)
        check(ft.partial(cls, 2, 4, 6, 3, use_bias=False), 0)
    for n in (1, 2, 3):
        for prefix in ("Conv", "ConvTranspose"):
            check(ft.partial(getattr(eqx.nn, f"{prefix}{n}d"), 4, 6, 3), 1)
    for depth in range(4):
        check(ft.partial(eqx.nn.MLP, 3, 4, 5, depth, activation=jnp.tanh), depth + 1)
    for depth in range(4):
        make = ft.partial(eqx.nn.MLP, 3, 4, 5, depth, activation=jnp.tanh, scan=True)
        # The input layer, the stack of hidden layers, and the output layer.
        check(make, 1 if depth == 0 else 3)
    check(ft.partial(eqx.nn.MultiheadAttention, 2, 4), 0)
    check(ft.partial(eqx.nn.MultiheadAttention, 2, 4, use_key_bias=True), 1)


def test_any_callable(getkey):
    calls = []

    def spy(*args, **kwargs):
        calls.append((args, kwargs))
        key, shape, dtype = args
        return jnp.ones(shape, dtype)

    both: dict[str, Any] = dict(weight_init=spy, bias_init=spy)
    eqx.nn.Linear(3, 4, **both, dtype=jnp.float16, key=getkey())
    eqx.nn.Conv2d(4, 6, (2, 3), groups=2, **both, key=getkey())
    shapes = [(4, 3), (4,), (6, 2, 2, 3), (6, 1, 1)]
    assert [args[1] for args, _ in calls] == shapes
    assert [args[2] for args, _ in calls] == [jnp.float16] * 2 + [jnp.float32] * 2
    assert all(kwargs == {} for _, kwargs in calls)

    # Not called for a parameter that is not there.
    calls.clear()
    eqx.nn.Linear(3, 4, bias_init=spy, use_bias=False, key=getkey())
    eqx.nn.Conv1d(3, 4, 3, bias_init=spy, use_bias=False, key=getkey())
    eqx.nn.MultiheadAttention(2, 4, bias_init=spy, key=getkey())
    eqx.nn.MLP(
        2, 2, 2, 2, bias_init=spy, use_bias=False, use_final_bias=False, key=getkey()
    )
    assert calls == []

    class Callable:
        def __call__(self, key, shape, dtype) -> Any:
            return np.zeros(shape)

    for initialiser in (
        jinit.normal(),
        lambda k, s, d: jnp.zeros(s, d),
        ft.partial(lambda x, k, s, d: jnp.full(s, x, d), 1.0),
        Callable(),
        jrandom.normal,
    ):
        linear = eqx.nn.Linear(3, 4, weight_init=initialiser, key=getkey())
        assert linear.weight.shape == (4, 3)


def test_result_is_cast(getkey):
    for result in (
        lambda s: np.ones(s),
        lambda s: np.ones(s, np.int8),
        lambda s: np.ones(s, bool),
        lambda s: jnp.ones(s, jnp.float32),
        lambda s: jnp.full(s, 1.0),  # weakly typed
    ):
        for dtype in (jnp.float16, jnp.bfloat16, jnp.float32, jnp.complex64):
            initialiser: Any = lambda key, shape, dtype: result(shape)
            linear = eqx.nn.Linear(
                3, 4, weight_init=initialiser, dtype=dtype, key=getkey()
            )
            assert isinstance(linear.weight, jax.Array)
            assert linear.weight.dtype == dtype
            assert not linear.weight.weak_type
            assert (linear.weight == 1).all()


def test_mlp_sequence(getkey):
    key = getkey()
    for scan in (False, True):
        inits = [init.constant(1), init.constant(2), init.constant(2), None]
        mlp = eqx.nn.MLP(2, 3, 4, 3, weight_init=inits, scan=scan, key=key)
        default = eqx.nn.MLP(2, 3, 4, 3, scan=scan, key=key)
        assert (mlp.layers[0].weight == 1).all()
        assert all((layer.weight == 2).all() for layer in mlp.layers[1:-1])
        assert eqx.tree_equal(mlp.layers[-1], default.layers[-1])
        for depth in range(4):
            inits = (init.zeros,) * depth + (init.ones,)
            mlp = eqx.nn.MLP(2, 3, 4, depth, bias_init=inits, scan=scan, key=key)
            assert (mlp.layers[-1].bias == 1).all()
            assert all((layer.bias == 0).all() for layer in mlp.layers[:-1])
    # Scanning over layers does not change what they are.
    kwargs: dict[str, Any] = dict(
        weight_init=init.he_normal(), bias_init=init.normal(), key=key
    )
    mlp = eqx.nn.MLP(2, 3, 4, 3, **kwargs)
    scan_mlp = eqx.nn.MLP(2, 3, 4, 3, **kwargs, scan=True)
    stack = jtu.tree_map(lambda *x: jnp.stack(x), *mlp.layers[1:-1])
    assert eqx.tree_equal(scan_mlp.layers[1], stack, rtol=1e-6)


def test_mlp_bad_sequence(getkey):
    for depth in range(3):
        for length in (0, depth, depth + 2):
            with pytest.raises(ValueError, match=rf"`bias_init`.*\(={depth + 1}\)"):
                inits = [init.zeros] * length
                eqx.nn.MLP(2, 2, 2, depth, bias_init=inits, key=getkey())
    inits = [init.zeros, init.zeros, init.ones, init.zeros]
    eqx.nn.MLP(2, 2, 2, 3, weight_init=inits, key=getkey())
    with pytest.raises(ValueError, match="`weight_init`.*equal.*`scan=True`"):
        eqx.nn.MLP(2, 2, 2, 3, weight_init=inits, scan=True, key=getkey())
    inits = [init.zeros, None, init.ones, init.zeros]
    with pytest.raises(ValueError, match="`weight_init`.*equal.*`scan=True`"):
        eqx.nn.MLP(2, 2, 2, 3, weight_init=inits, scan=True, key=getkey())


def test_scan_with_arrays(getkey):
    array = jnp.ones((2, 2))
    inits: Any = [None, array, array + 1, None]
    with pytest.raises(TypeError, match="`weight_init` must be an initialiser"):
        eqx.nn.MLP(2, 2, 2, 3, weight_init=inits, scan=True, key=getkey())


def test_scan_with_tracers(getkey):
    def weight(stddev, same):
        x = init.normal(stddev)
        inits = [None, x, x if same else init.normal(stddev + 1), None]
        mlp = eqx.nn.MLP(2, 2, 2, 3, weight_init=inits, scan=True, key=getkey())
        return mlp.layers[1].weight

    weight = ft.partial(jax.jit(weight, static_argnums=1), 0.5)
    assert weight(True).shape == (2, 2, 2)
    with pytest.raises(ValueError, match="`weight_init`.*equal.*`scan=True`"):
        weight(False)


def test_attention_mapping(getkey):
    key = getkey()
    names = ("query", "key", "value", "output")
    use: dict[str, Any] = {f"use_{name}_bias": True for name in names}
    default = eqx.nn.MultiheadAttention(2, 4, **use, key=key)
    for name in names:
        attention = eqx.nn.MultiheadAttention(
            2, 4, **use, weight_init={name: init.ones}, bias_init={name: None}, key=key
        )
        for other in names:
            projection = getattr(attention, f"{other}_proj")
            default_projection = getattr(default, f"{other}_proj")
            if other == name:
                assert (projection.weight == 1).all()
            else:
                assert eqx.tree_equal(projection.weight, default_projection.weight)
            assert eqx.tree_equal(projection.bias, default_projection.bias)
    for argument in ("weight_init", "bias_init"):
        accepted = "'query', 'key', 'value', 'output'"
        bad: dict[str, Any] = {argument: {"out": None}}
        with pytest.raises(ValueError, match=f"`{argument}`.*'out'.*{accepted}"):
            eqx.nn.MultiheadAttention(2, 4, **bad, key=key)


#
# Mistakes
#


def layers():
    return [
        ft.partial(eqx.nn.Linear, 3, 4),
        ft.partial(eqx.nn.Conv2d, 3, 4, 3),
        ft.partial(eqx.nn.ConvTranspose1d, 3, 4, 3),
        ft.partial(eqx.nn.MLP, 3, 4, 5, 2),
        ft.partial(eqx.nn.MultiheadAttention, 2, 4, use_output_bias=True),
    ]


@pytest.mark.parametrize("make", layers())
@pytest.mark.parametrize("argument", ["weight_init", "bias_init"])
def test_mistakes(make, argument, getkey):
    def fails(error, match, value):
        with pytest.raises(error, match=f"(?s){argument}.*{match}"):
            make(**{argument: value}, key=getkey())

    for value in ("zeros", b"zeros", 0, 0.5, np.float32(1), jnp.ones(3), np.ones(3)):
        fails(TypeError, "", value)
    for factory, name in (
        (init.orthogonal, r"orthogonal\(\)"),
        (init.normal, r"normal\(\)"),
        (init.truncated_normal, r"truncated_normal\(\)"),
        (init.uniform, r"uniform\(...\)"),
        (init.variance_scaling, r"variance_scaling\(...\)"),
        (init.he_normal, r"he_normal\(\)"),
        (init.xavier_uniform, r"glorot_uniform\(\)"),
        (jinit.he_normal, r"he_normal\(\)"),
        (jinit.orthogonal, r"orthogonal\(\)"),
        (jinit.normal, r"normal\(\)"),
        (jinit.constant, r"constant\(...\)"),
        (jinit.variance_scaling, r"variance_scaling\(...\)"),
    ):
        fails(TypeError, f"did you mean `{name}`", factory)
    for result in (None, 0.0, [0.0], "zeros", jrandom.key(0)):
        fails(TypeError, "must return an array", lambda k, s, d: result)
    fails(TypeError, "float32.*complex64", lambda k, s, d: jnp.zeros(s, jnp.complex64))
    fails(ValueError, "shape", lambda k, s, d: jnp.zeros((7,) + s, d))
    fails(ValueError, "shape", lambda k, s, d: np.zeros(()))

    class CustomError(Exception):
        pass

    def raises(key, shape, dtype):
        raise CustomError("as it is")

    with pytest.raises(CustomError, match="^as it is$"):
        make(**{argument: raises}, key=getkey())


def test_integer_layer(getkey):
    linear = eqx.nn.Linear(
        2,
        2,
        weight_init=init.ones,
        bias_init=init.constant(3),
        dtype=jnp.int32,
        key=getkey(),
    )
    assert linear.bias is not None
    assert linear.weight.dtype == linear.bias.dtype == jnp.int32
    with pytest.raises(TypeError, match="`weight_init`.*int32.*float32"):
        eqx.nn.Linear(
            2,
            2,
            weight_init=lambda k, s, d: jnp.ones(s),
            dtype=jnp.int32,
            key=getkey(),
        )


@pytest.mark.parametrize("make", layers())
def test_keyword_only(make):
    params = list(inspect.signature(make.func.__init__).parameters.values())
    names = [param.name for param in params]
    index = names.index("key")
    assert names[index - 2 : index] == ["weight_init", "bias_init"]
    for param in params[index - 2 : index]:
        assert param.kind is param.KEYWORD_ONLY and param.default is None
