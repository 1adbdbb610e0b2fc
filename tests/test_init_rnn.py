import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest


init = eqx.nn.init
GRU, LSTM = eqx.nn.GRUCell, eqx.nn.LSTMCell
gates = {GRU: ("reset", "update", "new"), LSTM: ("input", "forget", "cell", "output")}
cells = pytest.mark.parametrize("cls", [GRU, LSTM])


@cells
def test_drawn_gate_by_gate(cls, getkey):
    shapes = []

    def spy(key, shape, dtype):
        shapes.append(shape)
        matrix = init.orthogonal()
        return matrix(key, shape, dtype) if len(shape) > 1 else jnp.ones(shape)

    cell = cls(5, 5, weight_init=spy, bias_init=spy, key=getkey())
    # The gates of a weight are drawn by `vmap`, and so in a single call.
    assert shapes == [(5, 5), (5, 5)] + [(5,)] * 4  # A GRU has a second bias.
    for weight in (cell.weight_ih, cell.weight_hh):
        for gate in jnp.split(weight, len(gates[cls])):
            assert np.allclose(gate @ gate.T, np.eye(5), atol=1e-5)
        assert len(np.unique(np.asarray(weight).round(5))) > 0.9 * weight.size
    bias = cls(3, 50, bias_init=init.normal(), key=getkey()).bias
    assert len(np.unique(bias)) > 0.9 * len(bias)


@cells
def test_mapping(cls, getkey):
    key = getkey()
    default = cls(3, 5, key=key)
    cell = cls(3, 5, weight_init={"hh": init.identity(), "ih": None}, key=key)
    assert (cell.weight_hh == np.tile(np.eye(5), (len(gates[cls]), 1))).all()
    get = lambda cell: cell.weight_hh
    assert eqx.tree_equal(eqx.tree_at(get, cell, default.weight_hh), default)
    for i, gate in enumerate(gates[cls]):
        cell = cls(3, 5, bias_init={gate: init.ones}, key=key)
        bias = default.bias.at[5 * i : 5 * (i + 1)].set(1)
        assert eqx.tree_equal(cell, eqx.tree_at(lambda x: x.bias, default, bias))
    same = dict.fromkeys((*gates[cls], "new_hidden")[:4], init.normal())
    by_name = cls(3, 5, bias_init=same, key=key)
    assert eqx.tree_equal(by_name, cls(3, 5, bias_init=init.normal(), key=key))
    for name in ("weight_init", "bias_init"):
        with pytest.raises(ValueError, match=f"^`{name}` has the keys \\['x'\\]"):
            cls(3, 5, **{name: {"x": init.ones}}, key=key)
        with pytest.raises(TypeError, match=f"^`{name}` must be a function"):
            cls(3, 5, **{name: init.normal}, key=key)


def test_gates(getkey):
    # By what they do, rather than by where they are.
    high, tanh, one = 50.0, math.tanh, jnp.ones(1)

    def make(cls, names, values):
        bias_init = {name: init.constant(values.get(name, 0)) for name in names}
        return cls(1, 1, weight_init=init.zeros, bias_init=bias_init, key=getkey())

    def lstm(**values):
        h, c = make(LSTM, gates[LSTM], values)(one, (one, one))
        return h.item(), c.item()

    assert lstm(forget=high)[1] == pytest.approx(1.0)
    assert lstm(forget=-high, input=high, cell=0.3)[1] == pytest.approx(tanh(0.3))
    assert lstm(forget=high, output=high)[0] == pytest.approx(tanh(1.0))
    assert lstm(forget=high, output=-high)[0] == pytest.approx(0.0)

    def gru(**values):
        return make(GRU, (*gates[GRU], "new_hidden"), values)(one, one).item()

    assert gru(update=high) == pytest.approx(1.0)
    assert gru(update=-high, new=0.3) == pytest.approx(tanh(0.3))
    hidden = dict(update=-high, new_hidden=0.3)
    assert gru(reset=high, **hidden) == pytest.approx(tanh(0.3))
    assert gru(reset=-high, **hidden) == pytest.approx(0.0)
