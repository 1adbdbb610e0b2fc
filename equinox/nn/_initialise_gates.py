import math
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import jax.random as jrandom
import jax.tree_util as jtu
from jaxtyping import Array, PRNGKeyArray

from ._initialise import (
    depends_on,
    draw,
    one_per_name,
    Parameter,
    ParameterInitialiser,
)
from ._misc import default_init


_T = TypeVar("_T")


class _GateInits:
    """The initialisers of a recurrent cell, which stores its gates side by side.

    They are drawn one gate at a time: with the shape and the fans of a single gate, and
    with a key of its own.
    """

    # The gates in each bias, in the order in which they are stored.
    gates: ClassVar[dict[str, tuple[str, ...]]]

    def __init__(self, weight_init: Any, bias_init: Any):
        self.num_gates = len(self.gates["bias"])
        all_gates = tuple(gate for gates in self.gates.values() for gate in gates)
        self.weight_inits = one_per_name("weight_init", weight_init, ("ih", "hh"))
        self.bias_inits = one_per_name("bias_init", bias_init, all_gates)

    def weight(
        self, name: str, key: PRNGKeyArray, shape: tuple[int, int], dtype: Any
    ) -> Array:
        init = self.weight_inits[name]
        hidden_size = shape[0] // self.num_gates
        if init is None:
            return default_init(key, shape, dtype, _limit(hidden_size))
        gate_shape = (hidden_size, shape[1])
        param = Parameter(gate_shape)

        def draw_gate(gate_key):
            return draw("weight_init", init, gate_key, gate_shape, dtype, param)

        keys = _split(key, self.num_gates)
        return draw_each(init, draw_gate, keys).reshape(shape)

    def bias(
        self, name: str, key: PRNGKeyArray, shape: tuple[int], dtype: Any
    ) -> Array:
        inits = [self.bias_inits[gate] for gate in self.gates[name]]
        hidden_size = shape[0] // len(inits)
        # The fans are those of the hidden to hidden weight.
        param = Parameter((hidden_size, hidden_size), is_bias=True)

        def draw_gate(gate_key, init=inits[0]):
            return draw("bias_init", init, gate_key, (hidden_size,), dtype, param)

        if all(init is None for init in inits):
            return default_init(key, shape, dtype, _limit(hidden_size))
        keys = _split(key, len(inits))
        if all(init is inits[0] for init in inits):
            return draw_each(inits[0], draw_gate, keys).reshape(shape)
        gates = [None if i is None else draw_gate(k, i) for i, k in zip(inits, keys)]
        if any(gate is None for gate in gates):
            # To have the values that they have if no gate is given an initialiser.
            default = default_init(key, shape, dtype, _limit(hidden_size))
            default = jnp.split(default, len(inits))
            gates = [d if gate is None else gate for d, gate in zip(default, gates)]
        return jnp.concatenate(gates)  # pyright: ignore


class GRUInits(_GateInits):
    gates = {"bias": ("reset", "update", "new"), "bias_n": ("new_hidden",)}


class LSTMInits(_GateInits):
    gates = {"bias": ("input", "forget", "cell", "output")}


class _DoesNotUseKey(Exception):
    pass


def draw_each(init: Any, draw_one: Callable[[PRNGKeyArray], _T], keys: Array) -> _T:
    """Makes one draw by `init` for each key: at once if it can be traced."""

    is_ours = isinstance(init, ParameterInitialiser) and not init.is_adapter
    draws = []

    def traced(key):
        out = draw_one(key)
        if not is_ours and not any(depends_on(x, key) for x in jtu.tree_leaves(out)):
            # It may use a random number generator of its own. (That of NumPy, say.)
            # If so then this is the first draw.
            draws.append(out)
            raise _DoesNotUseKey
        return out

    try:
        return jax.vmap(traced)(keys)
    except (_DoesNotUseKey, jax.errors.JAXTypeError):
        draws += [draw_one(key) for key in keys[len(draws) :]]
        return jtu.tree_map(lambda *xs: jnp.stack(xs), *draws)


def _split(key: PRNGKeyArray, num: int) -> Array:
    # Not `jax.random.split`: `key` itself may yet be used for the default.
    return jax.vmap(jrandom.fold_in, in_axes=(None, 0))(key, jnp.arange(num))


def _limit(hidden_size: int) -> float:
    return 1.0 if hidden_size == 0 else math.sqrt(1 / hidden_size)
