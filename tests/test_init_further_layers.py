import functools as ft
import math
from typing import Any

import equinox as eqx
import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import numpy as np
import pytest


init = eqx.nn.init
GRU, LSTM = eqx.nn.GRUCell, eqx.nn.LSTMCell
gates = {GRU: ("reset", "update", "new"), LSTM: ("input", "forget", "cell", "output")}
cells = pytest.mark.parametrize("cls", [GRU, LSTM])
norms = pytest.mark.parametrize(
    "make, shape",
    [
        (ft.partial(eqx.nn.LayerNorm, (2, 3)), (2, 3)),
        (ft.partial(eqx.nn.GroupNorm, 2, 6), (6,)),
        (ft.partial(eqx.nn.RMSNorm, 6), (6,)),
        (ft.partial(eqx.nn.BatchNorm, 6, "batch", mode="batch"), (6,)),
    ],
)


@cells
def test_cell_is_drawn_gate_by_gate(cls, getkey):
    shapes = []

    def spy(key, shape, dtype):
        shapes.append(shape)
        return jrandom.normal(key, shape, dtype)

    key = getkey()
    num_gates = len(gates[cls])
    cell = cls(3, 5, weight_init=spy, bias_init=spy, key=key)
    # The gates of a weight are drawn by `vmap`, and so in a single call.
    assert shapes == [(3, 5), (5, 5)] + [(5,)] * (num_gates + (cls is GRU))
    ihkey, hhkey, *_ = jrandom.split(key, 4 if cls is GRU else 3)
    for weight, wkey, shape in (
        (cell.weight_ih, ihkey, (3, 5)),
        (cell.weight_hh, hhkey, (5, 5)),
    ):
        for gate, gkey in zip(
            jnp.split(weight, num_gates), jrandom.split(wkey, num_gates), strict=True
        ):
            assert np.allclose(gate, spy(gkey, shape, jnp.float32).T)
    drawn = np.concatenate([np.ravel(x) for x in (cell.weight_ih, cell.bias)])
    assert len(np.unique(drawn)) > 0.9 * len(drawn)


@cells
def test_cell_fans(cls, getkey):
    num_gates = len(gates[cls])
    cell = cls(96, 160, weight_init=jinit.glorot_normal(), key=getkey())
    for weight, fan_in in ((cell.weight_ih, 96), (cell.weight_hh, 160)):
        expected = math.sqrt(2 / (fan_in + 160))
        assert np.std(np.asarray(weight)) == pytest.approx(expected, rel=0.03)
    cell = cls(16, 16, weight_init=jinit.orthogonal(), key=getkey())
    for weight in (cell.weight_ih, cell.weight_hh):
        for gate in jnp.split(weight, num_gates):
            assert np.allclose(gate @ gate.T, np.eye(16), atol=1e-5)


@cells
def test_cell_mapping_of_weights(cls, getkey):
    key = getkey()
    default = cls(3, 5, key=key)
    for weight_init in ({"hh": init.identity()}, {"hh": init.identity(), "ih": None}):
        cell = cls(3, 5, weight_init=weight_init, key=key)
        assert np.array_equal(cell.weight_hh, np.tile(np.eye(5), (len(gates[cls]), 1)))
        get_weight = lambda cell: cell.weight_hh
        cell = eqx.tree_at(get_weight, cell, default.weight_hh)
        assert eqx.tree_equal(cell, default)
    with pytest.raises(ValueError, match="`weight_init`.*'hx'.*'ih', 'hh'"):
        cls(3, 5, weight_init={"hx": init.zeros}, key=key)


def test_gates_of_lstm(getkey):
    # By what they do, rather than by where they are.
    def cell(**kwargs):
        bias_init: Any = dict.fromkeys(gates[LSTM], init.zeros)
        bias_init |= {name: init.constant(value) for name, value in kwargs.items()}
        lstm = LSTM(1, 1, weight_init=init.zeros, bias_init=bias_init, key=getkey())
        h, c = lstm(jnp.zeros(1), (jnp.zeros(1), jnp.ones(1)))
        return h.item(), c.item()

    high, tanh = 50.0, math.tanh
    assert cell(forget=high)[1] == pytest.approx(1.0)
    assert cell(forget=-high)[1] == pytest.approx(0.0)
    assert cell(forget=-high, input=high, cell=0.3)[1] == pytest.approx(tanh(0.3))
    assert cell(forget=-high, input=-high, cell=0.3)[1] == pytest.approx(0.0)
    assert cell(forget=high, output=high)[0] == pytest.approx(tanh(1.0))
    assert cell(forget=high, output=-high)[0] == pytest.approx(0.0)


def test_gates_of_gru(getkey):
    def cell(**kwargs):
        bias_init: Any = dict.fromkeys((*gates[GRU], "new_hidden"), init.zeros)
        bias_init |= {name: init.constant(value) for name, value in kwargs.items()}
        gru = GRU(1, 1, weight_init=init.zeros, bias_init=bias_init, key=getkey())
        return gru(jnp.zeros(1), jnp.ones(1)).item()

    high, tanh = 50.0, math.tanh
    assert cell(update=high) == pytest.approx(1.0)
    assert cell(update=-high, new=0.3) == pytest.approx(tanh(0.3))
    hidden = dict(update=-high, new_hidden=0.3)
    assert cell(reset=high, **hidden) == pytest.approx(tanh(0.3))
    assert cell(reset=-high, **hidden) == pytest.approx(0.0)


@cells
def test_cell_mapping_of_biases(cls, getkey):
    key = getkey()
    default = cls(3, 5, key=key)
    get_bias = lambda cell: cell.bias
    for i, gate in enumerate(gates[cls]):
        cell = cls(3, 5, bias_init={gate: init.ones}, key=key)
        # All else is as it was.
        bias = default.bias.at[5 * i : 5 * (i + 1)].set(1)
        assert eqx.tree_equal(cell, eqx.tree_at(get_bias, default, bias))
    if cls == GRU:
        cell = GRU(3, 5, bias_init={"new_hidden": init.ones}, key=key)
        get_bias = lambda cell: cell.bias_n
        assert eqx.tree_equal(cell, eqx.tree_at(get_bias, default, jnp.ones(5)))
    assert eqx.tree_equal(cls(3, 5, bias_init={}, weight_init={}, key=key), default)
    same: Any = dict.fromkeys((*gates[cls], "new_hidden")[:4], init.normal())
    by_name = cls(3, 5, bias_init=same, key=key)
    assert eqx.tree_equal(by_name, cls(3, 5, bias_init=init.normal(), key=key))
    accepted = ", ".join(map(repr, gates[cls]))
    with pytest.raises(ValueError, match=f"`bias_init`.*'forgot'.*{accepted}"):
        cls(3, 5, bias_init={"forgot": init.ones}, key=key)
    with pytest.raises(ValueError, match=f"`bias_init`.*'{gates[cls][0]}'"):
        cls(3, 5, bias_init={gates[cls][0]: init.ones}, use_bias=False, key=key)


def test_embedding(getkey):
    key = getkey()
    make = ft.partial(eqx.nn.Embedding, 30, 4)
    initialiser = jinit.variance_scaling(1.0, "fan_in", "normal")
    embedding = make(weight_init=initialiser, key=key)
    assert np.array_equal(embedding.weight, initialiser(key, (30, 4), jnp.float32))
    assert eqx.tree_equal(make(weight_init=None, key=key), make(key=key))
    embedding = make(dtype=jnp.float16, weight_init=init.ones)
    assert embedding.weight.dtype == jnp.float16
    assert (embedding(jnp.array(1)) == 1).all()
    with pytest.raises(ValueError, match="`key` must be given.*`weight_init`"):
        make(weight_init=init.he_normal())
    with pytest.raises(ValueError, match="key="):
        make()
    weight = jnp.ones((30, 4))
    with pytest.raises(ValueError, match="both `weight` and `weight_init`"):
        eqx.nn.Embedding(weight=weight, weight_init=init.zeros)
    assert eqx.nn.Embedding(weight=weight).weight is weight


@norms
def test_norm(make, shape, getkey):
    default = make()
    assert (default.weight == 1).all() and (default.bias == 0).all()
    given = make(weight_init=init.zeros, bias_init=init.constant(2.0))
    assert (given.weight == 0).all() and (given.bias == 2).all()
    assert given.weight.shape == given.bias.shape == default.weight.shape == shape
    both: dict[str, Any] = dict(weight_init=init.normal(), bias_init=init.normal())
    drawn = make(**both, dtype=jnp.float16, key=getkey())
    assert drawn.weight.dtype == drawn.bias.dtype == jnp.float16
    assert not np.array_equal(drawn.weight, drawn.bias)
    # A key alone changes nothing.
    assert (make(key=getkey()).weight == 1).all()


@norms
def test_norm_key(make, shape, getkey):
    jit = ft.partial(jax.jit, static_argnums=(1, 2))
    ones = jax.custom_jvp(
        lambda key, shape, dtype: jnp.ones(shape, dtype), nondiff_argnums=(1, 2)
    )
    ones.defjvp(lambda shape, dtype, primals, tangents: None)  # pyright: ignore
    for name in ("weight", "bias"):
        for initialiser in (
            init.normal(),
            jinit.normal(),
            jit(lambda key, shape, dtype: jrandom.normal(key, shape, dtype)),
            lambda key, shape, dtype: np.full(shape, float(jrandom.uniform(key))),
        ):
            with pytest.raises(ValueError, match=f"`key` must be .*`{name}_init`"):
                make(**{f"{name}_init": initialiser})
        for initialiser in (
            init.ones,
            jinit.ones,
            jit(lambda key, shape, dtype: jnp.ones(shape, dtype)),
            ones,
        ):
            layer = make(**{f"{name}_init": initialiser})
            assert (getattr(layer, name) == 1).all()
