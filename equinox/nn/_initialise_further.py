import functools as ft
from typing import Any

import jax.numpy as jnp
import jax.random as jrandom
import numpy as np
from jaxtyping import Array

from .._misc import default_floating_dtype
from ._initialise import check_initialiser, draw, per_name
from ._misc import default_init


def per_gate(weight_init, bias_init, gates, use_bias) -> tuple[dict, list]:
    """The initialisers of a recurrent cell: by name for the weights, in order for the
    gates of the biases."""
    weight_inits = per_name("weight_init", weight_init, dict(ih=True, hh=True))
    bias_inits = per_name("bias_init", bias_init, dict.fromkeys(gates, use_bias))
    return weight_inits, list(bias_inits.values())


def init_gates(inits, key, shape, dtype, lim) -> Array:
    """Draws the bias of a recurrent cell, which has one initialiser for each gate."""
    gates: list[Any] = [None] * len(inits)
    if any(init is None for init in inits):
        default = default_init(key, shape, dtype, lim)
        if all(init is None for init in inits):
            return default
        gates = jnp.split(default, len(inits))
        key = jrandom.fold_in(key, 0)  # Nothing else is drawn from `key` itself.
    gate_shape = (shape[0] // len(inits),)
    for i, gate_key in enumerate(jrandom.split(key, len(inits))):
        if inits[i] is not None:
            gates[i] = draw("bias_init", inits[i], gate_key, gate_shape, dtype)
    return jnp.stack(gates).reshape(shape)


def init_elementwise(argument, default, init, key, shape, dtype, is_used=True) -> Any:
    """Draws a parameter that is asked for as it is stored, maybe without a key."""
    check_initialiser(argument, init)
    if not is_used:
        return None
    if init is None:
        return default(shape, dtype=dtype)
    if key is not None and argument == "bias_init":
        key = jrandom.fold_in(key, 0)  # The weight is drawn from `key` itself.
    shape = shape if np.ndim(shape) > 0 else (shape,)
    dtype = default_floating_dtype() if dtype is None else dtype
    try:
        return draw(argument, init, key, shape, dtype)
    except Exception:
        if key is None:
            # Raises again, unless a key is all that was missing.
            draw(argument, init, jrandom.key(0), shape, dtype)
            raise ValueError(f"`key` must be given, since `{argument}` uses it.")
        raise


def init_table(init, key, shape, dtype) -> Array:
    """Draws the weight of an embedding."""
    default = ft.partial(jrandom.normal, key)
    return init_elementwise("weight_init", default, init, key, shape, dtype)


init_scale = ft.partial(init_elementwise, "weight_init", jnp.ones)
init_shift = ft.partial(init_elementwise, "bias_init", jnp.zeros)
