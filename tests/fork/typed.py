"""What a type checker finds, and what it accepts. Only read by pyright."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

import functools

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray


init = eqx.nn.init


def accepted(key: PRNGKeyArray):
    for one in (
        init.zeros,
        init.he_normal(),
        init.constant(np.float32(1)),
        jax.nn.initializers.he_normal(),
        lambda key, shape, dtype: jax.numpy.ones(shape, dtype),
    ):
        eqx.nn.Linear(2, 2, weight_init=one, bias_init=one, key=key)
        eqx.nn.MLP(2, 2, 2, 1, weight_init=[one, None], bias_init=(one, one), key=key)
        eqx.nn.LSTMCell(2, 2, weight_init=one, bias_init={"forget": one}, key=key)
        eqx.nn.MultiheadAttention(2, 2, bias_init={"query": None, "key": one}, key=key)
        eqx.nn.reinitialise([1], bias_init={"forget": one}, key=key)
    Linear = functools.partial(
        eqx.nn.Linear, weight_init=init.he_normal(), bias_init=init.zeros
    )
    return Linear(2, 2, key=key).weight


def found(key: PRNGKeyArray):
    eqx.nn.Linear(2, 2, weight_init="zeros", key=key)  # pyright: ignore
    eqx.nn.Linear(2, 2, weight_init=init.he_normal, key=key)  # pyright: ignore
    eqx.nn.LSTMCell(2, 2, bias_init={"forgot": init.ones}, key=key)  # pyright: ignore
    eqx.nn.GRUCell(2, 2, weight_init={"ho": init.ones}, key=key)  # pyright: ignore
    eqx.nn.MultiheadAttention(2, 2, bias_init={"out": None}, key=key)  # pyright: ignore
    eqx.nn.MLP(2, 2, 2, 1, weight_init={0: init.ones}, key=key)  # pyright: ignore
    init.variance_scaling(1.0, "fan", "normal")  # pyright: ignore
    init.calculate_gain(3)  # pyright: ignore
    eqx.nn.reinitialise([1], select=lambda layer: True, key=key)  # pyright: ignore
