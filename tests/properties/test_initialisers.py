"""Properties of initialisers and layers that need no more than one example each."""

import collections
import functools as ft
import inspect
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import numpy as np
import pytest


init = eqx.nn.init
norms = pytest.mark.parametrize(
    "make, shape",
    [
        (ft.partial(eqx.nn.LayerNorm, (2, 3)), (2, 3)),
        (ft.partial(eqx.nn.GroupNorm, 2, 6), (6,)),
        (ft.partial(eqx.nn.RMSNorm, 6), (6,)),
        (ft.partial(eqx.nn.BatchNorm, 6, "batch", mode="batch"), (6,)),
    ],
)


class Spy:
    def __init__(self):
        self.shapes = []

    def __call__(self, key, shape, dtype):
        self.shapes.append(shape)
        return jnp.ones(shape, dtype)


def both(initialiser) -> dict[str, Any]:
    return dict(weight_init=initialiser, bias_init=initialiser)


def std(x):
    return math.sqrt(np.mean(np.abs(np.asarray(x)) ** 2))


def test_callable_collections(getkey):
    class Tuple(NamedTuple):
        value: float

        def __call__(self, key, shape, dtype):
            return jnp.full(shape, self.value, dtype)

    class Dict(dict):
        def __call__(self, key, shape, dtype):
            return jnp.full(shape, self["value"], dtype)

    mlp = eqx.nn.MLP(2, 2, 2, 1, weight_init=Tuple(3.0), key=getkey())
    assert all((layer.weight == 3).all() for layer in mlp.layers)
    attention = eqx.nn.MultiheadAttention(
        2, 4, weight_init=Dict(value=3.0), key=getkey()
    )
    assert (attention.value_proj.weight == 3).all()


def test_subclass_overrides_call(getkey):
    class doubled(init.normal):
        def __call__(self, key, shape, dtype):  # pyright: ignore
            return 2 * super().__call__(key, shape, dtype)

    key = getkey()
    linear = eqx.nn.Linear(3, 4, weight_init=doubled(0.5), key=key)
    expected = eqx.nn.Linear(3, 4, weight_init=init.normal(0.5), key=key)
    assert np.allclose(linear.weight, 2 * expected.weight)


def test_result_is_cast(getkey):
    for result in (
        lambda s: np.ones(s),
        lambda s: np.ones(s, np.int8),
        lambda s: np.ones(s, bool),
        lambda s: jnp.full(s, 1.0),  # weakly typed
    ):
        for dtype in (jnp.bfloat16, jnp.float32, jnp.complex64):
            initialiser: Any = lambda key, shape, dtype: result(shape)
            linear = eqx.nn.Linear(
                3, 4, weight_init=initialiser, dtype=dtype, key=getkey()
            )
            assert isinstance(linear.weight, jax.Array)
            assert linear.weight.dtype == dtype and not linear.weight.weak_type
            assert (linear.weight == 1).all()
    kwargs: dict[str, Any] = dict(dtype=jnp.int32, key=getkey())
    linear = eqx.nn.Linear(
        2, 2, weight_init=init.ones, bias_init=init.constant(3), **kwargs
    )
    assert linear.weight.dtype == jnp.int32 and (linear.bias == 3).all()
    with pytest.raises(TypeError, match="`weight_init`.*int32.*float32"):
        eqx.nn.Linear(2, 2, weight_init=lambda k, s, d: jnp.ones(s), **kwargs)


def test_zero_sizes(getkey):
    for initialiser in (init.he_normal(), init.orthogonal(), init.fan_in_uniform()):
        for in_, out in [(0, 3), (3, 0), (0, 0)]:
            linear = eqx.nn.Linear(in_, out, weight_init=initialiser, key=getkey())
            assert linear.weight.shape == (out, in_)
        conv = eqx.nn.Conv2d(3, 0, 2, weight_init=initialiser, key=getkey())
        assert conv.weight.shape == (0, 3, 2, 2)
        for shape in [(0, 3), (3, 0), (0, 3, 3)]:
            assert init.draw(initialiser, getkey(), shape).shape == shape


def test_sparse(getkey):
    for sparsity, num_zeros in [(0, 0), (0.1, 3), (1 / 3, 10), (0.35, 11), (1, 30)]:
        for shape in [(200, 30), (4, 50, 30)]:
            out = np.asarray(init.sparse(sparsity, stddev=2.0)(getkey(), shape))
            assert ((out == 0).sum(axis=-1) == num_zeros).all()
            if sparsity < 1:
                assert std(out[out != 0]) == pytest.approx(2.0, rel=0.06)
    # Which are zero differs from input to input.
    zero = np.asarray(init.sparse(0.5)(getkey(), (200, 30))) == 0
    assert len(np.unique(zero, axis=0)) > 190
    # As in PyTorch.
    assert (init.sparse(0.55)(getkey(), (3, 100)) == 0).sum() == 3 * 56


def test_uniform_and_complex(getkey):
    shape = (300, 300)
    out = init.uniform(-1, 3)(getkey(), shape, jnp.complex64)
    for part in (init.uniform(-1, 3)(getkey(), shape), out.real, out.imag):
        assert -1 <= part.min() < -0.99 and 2.99 < part.max() <= 3
    for initialiser in (init.uniform(-1, 1), init.truncated_normal()):
        out = initialiser(getkey(), shape, jnp.complex64)
        assert abs(np.corrcoef(out.real.ravel(), out.imag.ravel())[0, 1]) < 0.02
    out = init.fan_in_uniform()(getkey(), shape, jnp.complex64)
    for part in (out.real, out.imag):
        assert np.abs(part).max() == pytest.approx(300**-0.5, rel=1e-3)
    for initialiser in (
        init.normal(3.0),
        init.truncated_normal(3.0, -8, 8),
        init.variance_scaling(9 * 300, "fan_in", "uniform"),
    ):
        assert std(initialiser(getkey(), shape)) == pytest.approx(3.0, rel=0.03)
        out = initialiser(getkey(), shape, jnp.complex64)
        assert std(out) == pytest.approx(3.0, rel=0.03)
        assert std(out.real) == pytest.approx(std(out.imag), rel=0.03)


def test_one_trace_for_equal_initialisers(getkey):
    num_traces = 0

    @eqx.filter_jit
    def draw(initialiser, key):
        nonlocal num_traces
        num_traces += 1
        return initialiser(key, (3, 3), jnp.float32)

    for make in (init.he_normal, init.normal, init.orthogonal):
        num_traces = 0
        for _ in range(3):
            draw(make(), getkey())
        assert num_traces == 1


def test_bad_modes(getkey):
    for bad in ("fan", "FAN_IN", None):
        with pytest.raises((TypeError, ValueError), match="mode"):
            init.variance_scaling(1, bad, "normal")  # pyright: ignore
        with pytest.raises((TypeError, ValueError), match="distribution"):
            init.variance_scaling(1, "fan_in", bad)  # pyright: ignore


def test_absent_parameters(getkey):
    for make in (
        ft.partial(eqx.nn.LayerNorm, 6, use_weight=False, use_bias=False),
        ft.partial(eqx.nn.RMSNorm, 6, use_weight=False, use_bias=False),
        ft.partial(eqx.nn.GroupNorm, 2, channelwise_affine=False),
        ft.partial(
            eqx.nn.BatchNorm, 6, "batch", mode="batch", channelwise_affine=False
        ),
    ):
        for argument in ("weight_init", "bias_init"):
            layer = make(**{argument: init.normal()})
            assert layer.weight is None and layer.bias is None
    spy = Spy()
    eqx.nn.Linear(3, 4, use_bias=False, bias_init=spy, key=getkey())
    eqx.nn.GRUCell(3, 4, use_bias=False, bias_init=spy, key=getkey())
    assert spy.shapes == []


def test_sweep_without_key():
    scales = jnp.arange(3.0)
    for make in (
        ft.partial(eqx.nn.LayerNorm, 2),
        ft.partial(eqx.nn.BatchNorm, 2, "batch", mode="batch"),
        ft.partial(eqx.nn.Embedding, 2, 2),
    ):
        weight = lambda x: make(weight_init=init.constant(x)).weight
        swept = eqx.filter_jit(eqx.filter_vmap(weight))(scales)
        assert np.array_equal(swept.reshape(3, -1)[:, 0], scales)


def test_mlp_scan_draws_stack_at_once(getkey):
    # So that the time to compile does not depend on the number of layers.
    spy = Spy()
    mlp = eqx.nn.MLP(2, 3, 4, 9, weight_init=spy, scan=True, key=getkey())
    assert spy.shapes == [(2, 4), (4, 4), (4, 3)]
    assert mlp.layers[1].weight.shape == (8, 4, 4)

    # Also beneath other transformations, where initialisers may hold tracers.
    @jax.jit
    def hidden(stddev):
        inits = [None, init.normal(stddev), init.constant(stddev), None]
        mlp = eqx.nn.MLP(2, 2, 2, 3, weight_init=inits, scan=True, key=getkey())
        return mlp.layers[1].weight

    assert (hidden(jnp.array(0.5))[1] == 0.5).all()


def test_constant(getkey):
    array = jnp.arange(3.0)
    linear = eqx.nn.Linear(2, 3, **both(init.constant(array)), key=getkey())
    assert (linear.weight == array[:, None]).all() and (linear.bias == array).all()
    assert (init.constant(1 + 2j)(getkey(), (2,), jnp.complex64) == 1 + 2j).all()
    assert init.constant(2)(getkey(), (2,), jnp.int8).dtype == jnp.int8
    with pytest.raises(TypeError):
        init.constant(1j)(getkey(), (2,), jnp.float32)
    with pytest.raises(OverflowError):
        init.constant(1000)(getkey(), (2,), jnp.int8)
    for shape in [(2, 2), (), (2,)]:
        with pytest.raises(ValueError):
            init.constant(array)(getkey(), shape)


def test_sweep_and_gradient(getkey):
    key = getkey()

    def draw(initialiser):
        linear = eqx.nn.Linear(50, 50, weight_init=initialiser, key=key)
        return linear.weight

    stddevs = jnp.array([0.1, 1.0, 10.0])
    swept = eqx.filter_vmap(draw)(init.normal(stddevs))
    for weight, stddev in zip(swept, stddevs, strict=True):
        assert np.allclose(weight, draw(init.normal(float(stddev))))
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
        loss = lambda scale: jnp.sum(draw(make(scale)) ** 2)
        scale = jnp.array(2.0)
        assert jax.grad(loss)(scale) == pytest.approx(float(loss(scale)), rel=1e-4)
    gradient = eqx.filter_grad(lambda x: jnp.sum(draw(x)))(init.normal(scale))
    assert gradient.stddev.shape == ()
    sparsity = jnp.array([0.0, 0.5, 1.0])
    num_zeros = (eqx.filter_vmap(draw)(init.sparse(sparsity)) == 0).sum(axis=(1, 2))
    assert num_zeros.tolist() == [0, 1250, 2500]


@norms
def test_norm_mistakes(make, shape, getkey):
    def raises(key, shape, dtype):
        raise ZeroDivisionError("as it is")

    for kwargs in ({}, {"key": getkey()}):
        with pytest.raises(ZeroDivisionError, match="^as it is"):
            make(weight_init=raises, **kwargs)
        with pytest.raises(TypeError):
            make(weight_init=init.constant(1j), **kwargs)
        with pytest.raises(ValueError, match="`bias_init`.*\\(7,\\)"):
            make(bias_init=lambda k, s, d: jnp.ones(7), **kwargs)
        if len(shape) == 1:
            with pytest.raises(ValueError, match="1-dimensional"):
                make(weight_init=jinit.he_normal(), **kwargs)


def test_keyword_only():
    for cls in (eqx.nn.Linear, eqx.nn.Conv, eqx.nn.MLP, eqx.nn.MultiheadAttention):
        params = list(inspect.signature(cls.__init__).parameters.values())
        assert [p.name for p in params[-3:]] == ["weight_init", "bias_init", "key"]
        for param in params[-3:-1]:
            assert param.kind is param.KEYWORD_ONLY and param.default is None


@pytest.mark.parametrize("cls", [eqx.nn.GRUCell, eqx.nn.LSTMCell])
def test_cell_mistakes(cls, getkey):
    make = ft.partial(cls, 3, 5, key=getkey())
    for argument in ("weight_init", "bias_init"):
        with pytest.raises(TypeError, match=f"`{argument}` must be a function"):
            make(**{argument: init.normal})
    wrong_shape = lambda key, shape, dtype: jnp.zeros((15, 3), dtype)
    with pytest.raises(ValueError, match="of shape \\(3, 5\\).*Got \\(15, 3\\)"):
        make(weight_init=wrong_shape)
    assert make(use_bias=False, bias_init=init.ones).bias is None


def test_does_not_share_memory_with_numpy(getkey):
    # Whether JAX would copy an array depends on where it lies in memory.
    for offset in range(16):
        array = np.ones(1024, np.float32)[offset : offset + 64]
        linear = eqx.nn.Linear(
            2, 64, bias_init=lambda key, shape, dtype: array, key=getkey()
        )
        array[:] = 7
        assert (linear.bias == 1).all()


def test_geometric_mean_of_fans(getkey):
    args: Any = (0.7, "fan_geo_avg", "normal")
    ours, theirs = init.variance_scaling(*args), jinit.variance_scaling(*args)
    key, shape = getkey(), (3, 5)
    try:
        expected = theirs(key, shape)
    except ValueError:  # Of older versions of JAX, which do not have it.
        with pytest.raises(ValueError, match="mode"):
            ours(key, shape)
    else:
        assert np.array_equal(ours(key, shape), expected)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_scale_of_delta_orthogonal(dtype, getkey):
    out = init.draw(init.delta_orthogonal(2.0), getkey(), (3, 4, 4), dtype)[1]
    gram = np.asarray(out, np.float32).T @ np.asarray(out, np.float32)
    assert np.allclose(gram, 4 * np.eye(4), atol=0.1)


def test_biases_of_scanned_mlp(getkey):
    inits = [init.constant(i) for i in range(5)]
    mlp = eqx.nn.MLP(2, 3, 4, 4, bias_init=inits, scan=True, key=getkey())
    assert (mlp.layers[0].bias == 0).all() and (mlp.layers[2].bias == 4).all()
    assert np.array_equal(mlp.layers[1].bias[:, 0], [1, 2, 3])


def test_gain_of_what_does_not_act_elementwise():
    for fn in (jax.nn.softmax, jax.nn.log_softmax, jax.nn.glu, jnp.cumsum, jnp.sort):
        with pytest.raises(ValueError, match="must act elementwise"):
            init.calculate_gain(fn)
    assert init.calculate_gain(np.tanh) == pytest.approx(1.5925, abs=1e-3)


def test_numbers_of_numpy(getkey):
    assert (init.normal(np.float32(0.5))(getkey(), (9,)) != 0).all()
    with pytest.raises(ValueError, match="`minval` must be at most `maxval`"):
        init.uniform(np.float32(1), np.array(0.0))


def test_any_sequence(getkey):
    inits = collections.deque([init.ones, init.zeros])
    mlp = eqx.nn.MLP(2, 2, 2, 1, weight_init=inits, key=getkey())
    assert (mlp.layers[0].weight == 1).all() and (mlp.layers[1].weight == 0).all()
