"""What is drawn for a given key is what it was.

If a change makes this fail on purpose, then the changelog must say so.
"""

from typing import Any

import equinox as eqx
import jax
import jax.random as jrandom
import numpy as np
import pytest


init, nn = eqx.nn.init, eqx.nn
normal: Any = dict(weight_init=init.normal(1.0), bias_init=init.normal(1.0))
LAYERS = {
    "Linear": lambda key: nn.Linear(3, 2, **normal, key=key),
    "Conv1d": lambda key: nn.Conv1d(4, 4, 3, groups=2, **normal, key=key),
    "ConvTranspose1d": lambda key: nn.ConvTranspose1d(2, 3, 2, **normal, key=key),
    "MLP": lambda key: nn.MLP(2, 2, 3, 3, **normal, key=key),
    "MultiheadAttention": lambda key: nn.MultiheadAttention(2, 4, **normal, key=key),
    "GRUCell": lambda key: nn.GRUCell(2, 3, **normal, key=key),
    "LSTMCell": lambda key: nn.LSTMCell(2, 3, **normal, key=key),
    "LSTMCell, forget": lambda key: nn.LSTMCell(
        2, 3, bias_init={"forget": init.normal(1.0)}, key=key
    ),
    "Embedding": lambda key: nn.Embedding(3, 2, weight_init=init.normal(1.0), key=key),
    "LayerNorm": lambda key: nn.LayerNorm((2, 3), **normal, key=key),
}
# Of the layer, and of the same layer as `reinitialise` draws it.
EXPECTED = {
    "Linear": [-1.8828, 0.8759],
    "Conv1d": [1.3268, -1.4312],
    "ConvTranspose1d": [0.4927, 0.0631],
    "MLP": [3.9672, 8.3139],
    "MultiheadAttention": [0.5950, -4.9932],
    "GRUCell": [0.7034, -5.4777],
    "LSTMCell": [8.0905, -2.9219],
    "LSTMCell, forget": [1.2749, -2.9219],
    "Embedding": [2.0977, -1.7768],
    "LayerNorm": [-0.1161, -1.9408],
}


def summary(layer):
    """One number, which every value has a part in."""
    arrays = jax.tree_util.tree_leaves(eqx.filter(layer, eqx.is_array))
    values = np.concatenate([np.ravel(x) for x in arrays])
    return float(values @ np.sin(np.arange(len(values))))


@pytest.mark.parametrize("name", LAYERS)
def test_same_values_as_before(name):
    # With the default of newer versions of JAX, and also the scale of a norm.
    with jax.threefry_partitionable(True):
        layer, key = LAYERS[name](jrandom.PRNGKey(0)), jrandom.PRNGKey(1)
        again = nn.reinitialise([layer], select=lambda *_: normal, key=key)
    found = [summary(layer), summary(again)]
    assert found == pytest.approx(EXPECTED[name], abs=1e-3)
