import functools as ft
import inspect
import math
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import numpy as np
import pytest


init = eqx.nn.init

GRU = eqx.nn.GRUCell
LSTM = eqx.nn.LSTMCell
cells = [(GRU, 3), (LSTM, 4)]
gates = {GRU: ("reset", "update", "new"), LSTM: ("input", "forget", "cell", "output")}
norms = [
    ft.partial(eqx.nn.LayerNorm, 6),
    ft.partial(eqx.nn.LayerNorm, (2, 3)),
    ft.partial(eqx.nn.GroupNorm, 2, 6),
    ft.partial(eqx.nn.RMSNorm, 6),
    ft.partial(eqx.nn.BatchNorm, 6, "batch", mode="batch"),
]
norm_ids = [f"{make.func.__name__}{make.args}" for make in norms]


def std(x):
    return float(np.std(np.asarray(x)))


#
# Recurrent cells
#


@pytest.mark.parametrize("cls, num_gates", cells)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"])
def test_cell_fans(cls, num_gates, mode, getkey):
    scaling = init.variance_scaling(2.0, mode, "normal")

    def expected(fan_in, fan_out):
        n = dict(
            fan_in=fan_in,
            fan_out=fan_out,
            fan_avg=(fan_in + fan_out) / 2,
            fan_geo_avg=math.sqrt(fan_in * fan_out),
        )[mode]
        return pytest.approx(math.sqrt(2 / n), rel=0.03)

    cell = cls(96, 160, weight_init=scaling, key=getkey())
    assert std(cell.weight_ih) == expected(96, 160)
    assert std(cell.weight_hh) == expected(160, 160)
    cell = cls(1, 6000, weight_init={"hh": init.zeros}, bias_init=scaling, key=getkey())
    assert std(cell.bias) == expected(6000, 6000)
    if cls is GRU:
        assert std(cell.bias_n) == expected(6000, 6000)


@pytest.mark.parametrize("cls, num_gates", cells)
def test_cell_orthogonal(cls, num_gates, getkey):
    cell = cls(16, 16, weight_init=init.orthogonal(), key=getkey())
    for packed in (cell.weight_ih, cell.weight_hh):
        drawn = jnp.split(packed, num_gates)
        for gate in drawn:
            assert np.allclose(gate @ gate.T, np.eye(16), atol=1e-5)
        for i, gate in enumerate(drawn):
            for other in drawn[:i]:
                assert not np.allclose(gate, other, atol=0.1)
    assert not np.allclose(cell.weight_ih, cell.weight_hh, atol=0.1)


@pytest.mark.parametrize("cls, num_gates", cells)
def test_cell_mapping_of_weights(cls, num_gates, getkey):
    key = getkey()
    default = cls(3, 5, key=key)
    cell = cls(3, 5, weight_init={"hh": init.identity()}, key=key)
    assert np.array_equal(cell.weight_hh, np.tile(np.eye(5), (num_gates, 1)))
    assert eqx.tree_equal(cell.weight_ih, default.weight_ih)
    assert eqx.tree_equal(cell.bias, default.bias)
    other = cls(3, 5, weight_init={"hh": init.identity(), "ih": None}, key=key)
    assert eqx.tree_equal(cell, other)
    with pytest.raises(ValueError, match="`weight_init`.*'hx'.*'ih', 'hh'"):
        cls(3, 5, weight_init={"hx": init.zeros}, key=key)


def test_gates_of_lstm(getkey):
    # By what they do, rather than by where they are.
    def cell(**kwargs):
        kwargs = {name: init.constant(value) for name, value in kwargs.items()}
        zero = dict(input=init.zeros, forget=init.zeros, cell=init.zeros)
        bias_init = {**zero, "output": init.zeros, **kwargs}
        lstm = LSTM(1, 1, weight_init=init.zeros, bias_init=bias_init, key=getkey())
        h, c = lstm(jnp.zeros(1), (jnp.zeros(1), jnp.ones(1)))
        return h.item(), c.item()

    high = 50.0
    tanh = math.tanh
    _, c = cell(forget=high)
    assert c == pytest.approx(1.0)
    _, c = cell(forget=-high)
    assert c == pytest.approx(0.0)
    _, c = cell(forget=-high, input=high, cell=0.3)
    assert c == pytest.approx(tanh(0.3))
    _, c = cell(forget=-high, input=-high, cell=0.3)
    assert c == pytest.approx(0.0)
    h, _ = cell(forget=high, output=high)
    assert h == pytest.approx(tanh(1.0))
    h, _ = cell(forget=high, output=-high)
    assert h == pytest.approx(0.0)


def test_gates_of_gru(getkey):
    def cell(**kwargs):
        kwargs = {name: init.constant(value) for name, value in kwargs.items()}
        zero = dict(reset=init.zeros, update=init.zeros, new=init.zeros)
        bias_init = {**zero, "new_hidden": init.zeros, **kwargs}
        gru = GRU(1, 1, weight_init=init.zeros, bias_init=bias_init, key=getkey())
        return gru(jnp.zeros(1), jnp.ones(1)).item()

    high = 50.0
    tanh = math.tanh
    assert cell(update=high) == pytest.approx(1.0)
    assert cell(update=-high, new=0.3) == pytest.approx(tanh(0.3))
    new_hidden = dict(update=-high, new_hidden=0.3)
    assert cell(reset=high, **new_hidden) == pytest.approx(tanh(0.3))
    assert cell(reset=-high, **new_hidden) == pytest.approx(0.0)


@pytest.mark.parametrize("cls, num_gates", cells)
def test_cell_mapping_of_biases(cls, num_gates, getkey):
    key = getkey()
    default = cls(3, 5, key=key)
    for i, gate in enumerate(gates[cls]):
        cell = cls(3, 5, bias_init={gate: init.ones}, key=key)
        where = slice(5 * i, 5 * (i + 1))
        assert (cell.bias[where] == 1).all()
        # All else is as it was.
        get = lambda c: c.bias
        bias = default.bias.at[where].set(1)
        assert eqx.tree_equal(cell, eqx.tree_at(get, default, bias))
    if cls is GRU:
        cell = cls(3, 5, bias_init={"new_hidden": init.ones}, key=key)
        assert (cell.bias_n == 1).all()
        assert eqx.tree_equal(cell.bias, default.bias)
    cell = cls(3, 5, bias_init={}, weight_init={}, key=key)
    assert eqx.tree_equal(cell, default)
    accepted = ", ".join(map(repr, gates[cls]))
    with pytest.raises(ValueError, match=f"`bias_init`.*'forgot'.*{accepted}"):
        cls(3, 5, bias_init={"forgot": init.ones}, key=key)


@pytest.mark.parametrize("cls, num_gates", cells)
def test_cell_keys(cls, num_gates, getkey):
    # Every gate has values of its own; and `bias_init` does not affect the weights.
    key = getkey()
    cell = cls(4, 4, weight_init=init.normal(), bias_init=init.normal(), key=key)
    values = [cell.weight_ih, cell.weight_hh, cell.bias]
    values = np.concatenate([np.ravel(x) for x in values])
    assert len(np.unique(values)) == len(values)
    other = cls(4, 4, weight_init=init.normal(), key=key)
    assert eqx.tree_equal(cell.weight_ih, other.weight_ih)
    assert eqx.tree_equal(cell.weight_hh, other.weight_hh)


@pytest.mark.parametrize("cls, num_gates", cells)
def test_gates_are_drawn_together(cls, num_gates, getkey):
    calls = []

    def counting(key, shape, dtype):
        calls.append(shape)
        return jrandom.normal(key, shape, dtype)

    cell = cls(3, 5, weight_init=counting, bias_init=counting, key=getkey())
    shapes = [(5, 3), (5, 5), (5,)] + [(5,)] * (cls is GRU)
    assert calls == shapes
    # Under `jit` likewise, and the values are the same.
    make = lambda key: cls(3, 5, weight_init=counting, bias_init=counting, key=key)
    key = getkey()
    a, b = make(key), eqx.filter_jit(make)(key)
    assert eqx.tree_equal(a, b, rtol=1e-6, atol=1e-6)
    assert cell.weight_hh.shape == (num_gates * 5, 5)


@pytest.mark.parametrize("cls, num_gates", cells)
def test_gates_that_cannot_be_traced(cls, num_gates, getkey):
    rng = np.random.default_rng(0)

    def unrelated_to_key(key, shape, dtype):
        return rng.normal(size=shape)

    def seeded_by_key(key, shape, dtype):
        seed = int(jrandom.randint(key, (), 0, 2**31 - 1))
        return np.random.default_rng(seed).normal(size=shape)

    def branching(key, shape, dtype):
        return jrandom.normal(key, shape, dtype) * (
            2 if jrandom.uniform(key) > 0 else 1
        )

    adapted = init.from_jax(unrelated_to_key)
    for initialiser in (unrelated_to_key, adapted, seeded_by_key, branching):
        both = dict(weight_init=initialiser, bias_init=initialiser)
        cell = cls(3, 5, **both, key=getkey())
        for x in (cell.weight_ih, cell.weight_hh, cell.bias):
            assert len(np.unique(np.asarray(x))) == x.size
            assert x.dtype == jnp.float32


@pytest.mark.parametrize("cls, num_gates", cells)
def test_gates_of_given_arrays(cls, num_gates, getkey):
    # One call for each gate: nothing is drawn and thrown away.
    arrays = [np.full((4, 3), i) for i in range(num_gates)]
    arrays += [np.full((4, 4), i) for i in range(num_gates)]
    given = iter(arrays)
    initialiser = lambda key, shape, dtype: next(given)
    cell = cls(3, 4, use_bias=False, weight_init=initialiser, key=getkey())
    assert np.array_equal(cell.weight_ih, np.concatenate(arrays[:num_gates]))
    assert np.array_equal(cell.weight_hh, np.concatenate(arrays[num_gates:]))
    assert list(given) == []

    # Also beneath another transformation.
    rng = np.random.default_rng(0)

    @jax.vmap
    def make(scale):
        initialiser = lambda key, shape, dtype: scale * rng.normal(size=shape)
        return cls(3, 4, weight_init=initialiser, key=jrandom.PRNGKey(0)).weight_ih

    with jax.numpy_dtype_promotion("standard"):
        weights = make(jnp.arange(1.0, 3.0))
    assert len(np.unique(np.asarray(weights[0]))) == weights[0].size


@pytest.mark.parametrize("cls, num_gates", cells)
def test_cell_zero_sizes(cls, num_gates, getkey):
    both = dict(weight_init=init.he_normal(), bias_init=init.he_normal())
    for kwargs in ({}, both, dict(weight_init=init.orthogonal())):
        for sizes in [(0, 3), (3, 0), (0, 0)]:
            cell = cls(*sizes, **kwargs, key=getkey())
            in_size, hidden_size = sizes
            assert cell.weight_ih.shape == (num_gates * hidden_size, in_size)
            assert cell.weight_hh.shape == (num_gates * hidden_size, hidden_size)
            assert jnp.isfinite(cell.bias).all()


@pytest.mark.parametrize("cls, num_gates", cells)
def test_cell_mistakes(cls, num_gates, getkey):
    make = ft.partial(cls, 3, 5, key=getkey())
    with pytest.raises(TypeError, match="did you mean `he_normal\\(\\)`"):
        make(weight_init=jinit.he_normal)
    wrong_shape = lambda key, shape, dtype: jnp.zeros((num_gates * 5, 3), dtype)
    with pytest.raises(ValueError, match="\\(5, 3\\)"):
        make(weight_init=wrong_shape)

    def fails(key, shape, dtype):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="^mine"):
        make(weight_init=fails)
    # Not called for what is not there.
    cell = make(use_bias=False, bias_init=fails)
    assert cell.bias is None


#
# Embedding
#


def test_embedding(getkey):
    for scaling, n in (
        (init.variance_scaling(1.0, "fan_in", "normal"), 64),
        (init.variance_scaling(1.0, "fan_out", "normal"), 4000),
    ):
        embedding = eqx.nn.Embedding(4000, 64, weight_init=scaling, key=getkey())
        assert std(embedding.weight) == pytest.approx(n**-0.5, rel=0.03)
    embedding = eqx.nn.Embedding(
        3, 2, dtype=jnp.float16, weight_init=init.ones, key=getkey()
    )
    assert embedding.weight.dtype == jnp.float16
    assert (embedding(jnp.array(1)) == 1).all()


def test_embedding_with_weight(getkey):
    weight = jnp.ones((3, 2))
    with pytest.raises(ValueError, match="both `weight` and `weight_init`"):
        eqx.nn.Embedding(weight=weight, weight_init=init.zeros)
    assert eqx.nn.Embedding(weight=weight).weight is weight


def test_embedding_key():
    embedding = eqx.nn.Embedding(3, 2, weight_init=init.zeros)
    assert (embedding.weight == 0).all()
    with pytest.raises(ValueError, match="`key` must be given.*`weight_init`"):
        eqx.nn.Embedding(3, 2, weight_init=init.he_normal())
    with pytest.raises(ValueError, match="key="):
        eqx.nn.Embedding(3, 2)


#
# Normalisation
#


@pytest.mark.parametrize("make", norms, ids=norm_ids)
def test_norm(make, getkey):
    default = make()
    assert (default.weight == 1).all() and (default.bias == 0).all()
    given = make(weight_init=init.zeros, bias_init=init.constant(2.0))
    assert (given.weight == 0).all() and (given.bias == 2).all()
    assert given.weight.shape == given.bias.shape == default.weight.shape
    drawn = make(
        dtype=jnp.float16,
        weight_init=init.normal(),
        bias_init=init.normal(),
        key=getkey(),
    )
    assert drawn.weight.dtype == drawn.bias.dtype == jnp.float16
    assert not np.array_equal(drawn.weight, drawn.bias)
    # A key alone changes nothing.
    assert (make(key=getkey()).weight == 1).all()


def test_norm_sweep_without_key():
    scales = jnp.arange(3.0)
    for make in norms:
        params = lambda x: eqx.filter(
            make(weight_init=init.constant(x)), eqx.is_inexact_array
        )
        swept = eqx.filter_jit(eqx.filter_vmap(params))(scales)
        assert np.array_equal(swept.weight.reshape(3, -1)[:, 0], scales)
    table = lambda x: eqx.nn.Embedding(2, 1, weight_init=init.constant(x)).weight
    assert np.array_equal(jax.vmap(table)(scales)[:, 1, 0], scales)

    # Not every error is about the key.
    def concrete(x):
        initialiser: Any = lambda key, shape, dtype: np.full(shape, float(x))
        return eqx.nn.LayerNorm(3, weight_init=initialiser).weight

    with pytest.raises(jax.errors.JAXTypeError):
        jax.jit(concrete)(scales[0])


def test_zero_scale_of_residual_branch(getkey):
    norm = eqx.nn.LayerNorm(6, weight_init=init.zeros)
    assert (norm(jrandom.normal(getkey(), (6,))) == 0).all()


@pytest.mark.parametrize("make", norms, ids=norm_ids)
def test_norm_key(make, getkey):
    for name in ("weight_init", "bias_init"):
        for initialiser in (
            init.normal(),
            jinit.normal(),
            init.from_jax(jinit.normal()),
            lambda key, shape, dtype: np.full(shape, float(jrandom.uniform(key))),
        ):
            with pytest.raises(ValueError, match=f"`key` must be given.*`{name}`"):
                make(**{name: initialiser})
        for initialiser in (init.ones, jinit.ones, init.from_jax(jinit.ones)):
            layer = make(**{name: initialiser})
            assert (getattr(layer, name.removesuffix("_init")) == 1).all()


@pytest.mark.parametrize("make", norms, ids=norm_ids)
@pytest.mark.parametrize("with_key", [False, True])
def test_norm_has_no_fans(make, with_key, getkey):
    key = getkey() if with_key else None
    for name in ("weight_init", "bias_init"):
        for initialiser in (init.he_normal(), init.fan_in_uniform()):
            with pytest.raises(ValueError, match="`fan_in` or `fan_out`"):
                make(**{name: initialiser}, key=key)
        for initialiser in (init.orthogonal(), init.identity(), init.sparse(0.5)):
            with pytest.raises(ValueError, match="matrices"):
                make(**{name: initialiser}, key=key)


@pytest.mark.parametrize("make", norms, ids=norm_ids)
def test_norm_mistakes(make, getkey):
    def fails(key, shape, dtype):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="^mine"):
        make(weight_init=fails)
    with pytest.raises(TypeError, match="can be cast"):
        make(weight_init=init.constant(1j))
    with pytest.raises(ValueError, match="`bias_init`.*\\(7,\\)"):
        make(bias_init=lambda key, shape, dtype: jnp.zeros(7))


def test_norm_without_parameters():
    def fails(key, shape, dtype):
        raise AssertionError

    both: dict[str, Any] = dict(weight_init=fails, bias_init=fails)
    for layer in (
        eqx.nn.LayerNorm(3, use_weight=False, use_bias=False, **both),
        eqx.nn.RMSNorm(3, use_weight=False, use_bias=False, **both),
        eqx.nn.GroupNorm(1, channelwise_affine=False, **both),
        eqx.nn.BatchNorm(3, "batch", channelwise_affine=False, mode="ema", **both),
    ):
        assert layer.weight is None and layer.bias is None
    layer = eqx.nn.LayerNorm(3, use_weight=False, weight_init=fails)
    assert (layer.bias == 0).all()


#
# All of them
#


makes = {
    "GRUCell": ft.partial(GRU, 3, 5, bias_init={"reset": init.normal()}),
    "LSTMCell": ft.partial(LSTM, 3, 5, bias_init={"forget": init.normal()}),
    "Embedding": ft.partial(eqx.nn.Embedding, 5, 3),
    "LayerNorm": ft.partial(eqx.nn.LayerNorm, (5, 3), bias_init=init.normal()),
    "BatchNorm": ft.partial(norms[-1], bias_init=init.normal()),
}


@pytest.mark.parametrize("name", makes)
def test_transformations(name, getkey):
    make = ft.partial(makes[name], weight_init=init.normal())

    def params(key, dtype=None):
        # Without the buffers of `BatchNorm`.
        layer = make(key=key, dtype=dtype)
        return jax.tree_util.tree_leaves(eqx.filter(layer, eqx.is_inexact_array))

    key = getkey()
    for dtype in (jnp.float16, jnp.bfloat16, jnp.complex64):
        leaves = eqx.filter_eval_shape(params, key, dtype)
        assert leaves and all(x.dtype == dtype for x in leaves)
    eager = params(key)
    with jax.checking_leaks():
        jitted = jax.jit(params)(key)
    assert eqx.tree_equal(jitted, eager, rtol=1e-6, atol=1e-7)
    batch = [x[0] for x in jax.vmap(params)(key[None])]
    assert eqx.tree_equal(batch, eager, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", makes)
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_typed_keys(name, impl):
    with jax.debug_key_reuse(True):
        layer = makes[name](weight_init=init.normal(), key=jrandom.key(0, impl=impl))
    for x in jax.tree_util.tree_leaves(eqx.filter(layer, eqx.is_inexact_array)):
        assert jnp.isfinite(x).all()


def test_keyword_only():
    names = {
        GRU: ["weight_init", "bias_init", "key"],
        LSTM: ["weight_init", "bias_init", "key"],
        eqx.nn.Embedding: ["weight_init", "key"],
        eqx.nn.LayerNorm: ["elementwise_affine", "weight_init", "bias_init", "key"],
        eqx.nn.GroupNorm: ["weight_init", "bias_init", "key"],
        eqx.nn.RMSNorm: ["weight_init", "bias_init", "key"],
        eqx.nn.BatchNorm: ["weight_init", "bias_init", "key"],
    }
    for cls, expected in names.items():
        params = inspect.signature(cls.__init__).parameters.values()
        found = [p.name for p in params if p.kind is p.KEYWORD_ONLY]
        assert found == expected


def test_structure_is_unchanged(getkey):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = [
            (GRU(2, 3, key=getkey()), GRU(2, 3, bias_init=init.ones, key=getkey())),
            (eqx.nn.RMSNorm(2), eqx.nn.RMSNorm(2, bias_init=init.ones)),
        ]
    for default, given in pairs:
        structure = jax.tree_util.tree_structure
        assert structure(default) == structure(given)
