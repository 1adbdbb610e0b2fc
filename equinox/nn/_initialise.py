import functools as ft
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable, TYPE_CHECKING, TypeVar

import jax
import jax.numpy as jnp
import jax.random as jrandom
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from .._misc import default_floating_dtype
from .._module import field, Module
from ._misc import default_init


@runtime_checkable
class Initializer(Protocol):
    """The type of an initialiser: any callable `init(key, shape, dtype) -> Array`.

    This is the convention of `jax.nn.initializers` and of Flax, including the layout:
    for the weight of a linear map, `shape` is `(*spatial, in, out)`. The layer moves
    the axes of the result into the layout in which it stores the weight. All of
    `equinox.nn.init` and `jax.nn.initializers` follow this convention, and so can your
    own functions.

    An initialiser should be a pure function of `key`. In particular it may be called
    under `jax.jit` and `jax.vmap`: the groups of a convolution, the gates of a
    recurrent cell and the layers of a stack are drawn together, each with its own key.
    (A generator such as NumPy's would give all of them the same values.)
    """

    def __call__(self, key: Any, shape: tuple[int, ...], dtype: Any, /) -> Array: ...


if TYPE_CHECKING:
    _Name = TypeVar("_Name", bound=str)
    PerName = Initializer | Mapping[_Name, Initializer | None] | None
else:

    class PerName:  # At run time, `by_name` checks the names.
        __class_getitem__ = lambda cls, names: Initializer | Mapping | None


def draw(
    init: Initializer,
    key: PRNGKeyArray | None,
    shape: int | Sequence[int],
    dtype=None,
    *,
    name: str = "init",
) -> Array:
    """Calls an initialiser, and checks what it returns. Every layer draws its
    parameters by this function. Use it in your own layers as well.

    !!! example

        ```python
        class Dense(eqx.Module):
            weight: jax.Array

            def __init__(self, in_size, out_size, *, weight_init=None, key):
                if weight_init is None:
                    weight_init = eqx.nn.init.lecun_normal()
                shape = (in_size, out_size)
                self.weight = eqx.nn.init.draw(
                    weight_init, key, shape, name="weight_init"
                )
        ```

    If any of the sizes is zero, then the initialiser is not called. If `dtype` is a
    floating point dtype of 16 bits or fewer, then the initialiser is called with
    `jax.numpy.float32`, and the result is rounded. (In 16 bits, JAX draws normals from
    only 128 distinct values, and it has no QR decomposition.)

    **Arguments:**

    - `init`: The initialiser.
    - `key`: A `jax.random.PRNGKey` for the initialiser.
    - `shape`: The shape to draw. That of a weight is `(*spatial, in, out)`.
    - `dtype`: The dtype to draw. Defaults to either `jax.numpy.float32` or
        `jax.numpy.float64` depending on whether JAX is in 64-bit mode.
    - `name`: The name of the argument that `init` was given as, for error messages.
        (Keyword only argument.)

    **Returns:**

    A JAX array of shape `shape` and dtype `dtype`.

    **Raises:**

    A `TypeError` if `init` is not a function, or does not return an array, or returns
    one that does not cast to `dtype` (complex to real, or floating point to integer).
    A `ValueError` if it returns an array of another shape. What `init` itself raises
    passes through, with a note that names the argument and the shape.
    """
    if not callable(init) or isinstance(init, type):
        raise TypeError(
            f"`{name}` must be a function `init(key, shape, dtype)`, such as "
            f"`eqx.nn.init.zeros` or `eqx.nn.init.normal(0.02)`. Got {init!r}. (For a "
            "number use `eqx.nn.init.constant`; for an array use `eqx.tree_at`.)"
        )
    dtype = default_floating_dtype() if dtype is None else dtype
    dims: Any = (shape,) if np.ndim(shape) == 0 else shape
    shape = tuple(dims)
    if 0 in shape:  # Some initialisers divide by their sizes.
        return jnp.zeros(shape, dtype)
    # In 16 bits, JAX draws few distinct values, and has no QR decomposition.
    is_small = jnp.issubdtype(dtype, jnp.floating) and jnp.dtype(dtype).itemsize <= 2
    init_dtype = jnp.float32 if is_small else dtype
    try:
        out: Any = init(key, shape, init_dtype)
    except Exception as e:
        note = f"`{name}` was called as `init(key, shape, dtype)` with shape {shape}"
        note += "." if key is not None else ", and no `key` was given."
        if isinstance(e, TypeError) and key is not None:
            note += " (A factory such as `he_normal` is called first: `he_normal()`.)"
        add_note(e, note)
        raise
    if not isinstance(out, jax.Array | np.ndarray):
        raise TypeError(
            f"`{name}` must return an array. Got {out!r}. (A factory such as "
            "`he_normal` is called first: `he_normal()`.)"
        )
    if out.shape != shape:
        raise ValueError(
            f"`{name}` must return an array of shape {shape}. Got {out.shape}. (As in "
            "JAX, that of a weight is `(*spatial, in, out)`.)"
        )
    if not np.can_cast(out.dtype, init_dtype, "same_kind"):
        raise TypeError(f"`{name}` must return {jnp.dtype(dtype)}. Got {out.dtype}.")
    # A NumPy array may be written to later on, and old versions of JAX copy it late.
    return jnp.asarray(out if isinstance(out, jax.Array) else np.array(out), dtype)


class blocks(Module):
    r"""Draws several linear maps side by side along `out`, each with its own key:
    $W = [W_1, \ldots, W_n]$ for $n = \text{num_blocks}$.

    The groups of a convolution are drawn in this way. Use it for a weight that holds
    several matrices, such as the query, key and value projections of attention. (As a
    single matrix, `glorot_uniform` would draw these at 0.71 times their scale.)

    !!! example

        ```python
        init = eqx.nn.init.blocks(eqx.nn.init.glorot_uniform(), 3)
        eqx.nn.Linear(64, 3 * 64, weight_init=init, key=key)
        ```

    **Arguments:**

    - `init`: The initialiser of each block. Called with the shape
        `(*spatial, in, out // num_blocks)`.
    - `num_blocks`: The number of blocks, which must divide `out`.
    """

    init: Callable
    num_blocks: int = field(static=True)

    def __check_init__(self):
        if self.num_blocks < 1:
            raise ValueError(f"`num_blocks` must be at least one. Got {self}.")

    def __call__(self, key, shape, dtype=None, *, name="init") -> Array:
        *rest, out = shape
        if out % self.num_blocks != 0:
            raise ValueError(
                f"`num_blocks` must divide {out}, for `{name}`. Got {self}."
            )
        block = (*rest, out // self.num_blocks)
        draw_block = lambda key: draw(self.init, key, block, dtype, name=name)
        keys = jrandom.split(key, self.num_blocks)
        return jax.vmap(draw_block, out_axes=-2)(keys).reshape(shape)


def init_weight(init, key, shape, dtype, lim, num_blocks=1) -> Array:
    """Draws the weight of a linear map, stored as `(out, in, *spatial)`."""
    if init is None:
        return default_init(key, shape, dtype, lim)
    out, in_, *spatial = shape
    draw_all = ft.partial(draw, init) if num_blocks == 1 else blocks(init, num_blocks)
    weight = draw_all(key, (*spatial, in_, out), dtype, name="weight_init")
    return jnp.moveaxis(weight, (-1, -2), (0, 1))


def init_bias(init, key, shape, dtype, lim) -> Array:
    """Draws the bias of a linear map, stored as `(out, 1, ..., 1)`."""
    if init is None:
        return default_init(key, shape, dtype, lim)
    return draw(init, key, shape[:1], dtype, name="bias_init").reshape(shape)


def init_gates(inits, key, shape, dtype, lim) -> Array:
    """Draws the bias of a recurrent cell, given one initialiser for each gate."""
    gates: list[Any] = [None] * len(inits)
    if any(init is None for init in inits):
        default = default_init(key, shape, dtype, lim)
        if all(init is None for init in inits):
            return default
        gates = jnp.split(default, len(inits))
        key = jrandom.fold_in(key, 0)  # The default has used `key` itself.
    gate_shape = (shape[0] // len(inits),)
    for i, gate_key in enumerate(jrandom.split(key, len(inits))):
        if inits[i] is not None:
            gates[i] = draw(inits[i], gate_key, gate_shape, dtype, name="bias_init")
    return jnp.stack(gates).reshape(shape)


def init_affine(weight_init, bias_init, key, weight, bias) -> tuple:
    """Draws the scale and the shift of a norm in place of their defaults."""
    if weight_init is not None and weight is not None:
        weight = draw(weight_init, key, weight.shape, weight.dtype, name="weight_init")
    if bias_init is not None and bias is not None:
        key = None if key is None else jrandom.fold_in(key, 0)
        bias = draw(bias_init, key, bias.shape, bias.dtype, name="bias_init")
    return weight, bias


def by_name(init, names, argument) -> dict[str, Any]:
    """The initialiser for each name, given one for all of them or a mapping."""
    if callable(init) or not isinstance(init, Mapping):
        return dict.fromkeys(names, init)
    if unknown := [name for name in init if name not in names]:
        raise ValueError(f"`{argument}` has the keys {unknown}. It accepts {names}.")
    return {name: init.get(name) for name in names}


def per_projection(weight_init, bias_init) -> list[dict[str, Any]]:
    """The `weight_init` and `bias_init` of each projection of `MultiheadAttention`."""
    names = ("query", "key", "value", "output")
    weights = by_name(weight_init, names, "weight_init")
    biases = by_name(bias_init, names, "bias_init")
    return [dict(weight_init=weights[x], bias_init=biases[x]) for x in names]


def per_layer(weight_init, bias_init, num_layers) -> list[dict[str, Any]]:
    """The `weight_init` and `bias_init` of each layer of an `MLP`."""
    inits = dict(weight_init=weight_init, bias_init=bias_init)
    for name, init in inits.items():
        is_many = isinstance(init, Sequence | Mapping) and not isinstance(init, str)
        if not is_many or callable(init):
            inits[name] = [init] * max(num_layers, 1)
        elif isinstance(init, Mapping) or len(init) != num_layers:
            raise ValueError(
                f"`{name}` must be one initialiser, or a sequence of `depth + 1` (="
                f"{num_layers}) of them, input layer first. Got {init!r}."
            )
    return [dict(zip(inits, pair)) for pair in zip(*inits.values())]


def make_stack(make, keys, inits) -> Any:
    """Stacks the layers `make(key, init)`: by `jax.vmap` if all `inits` are equal."""
    if all(x is y for pair in inits for x, y in zip(pair.values(), inits[0].values())):
        return jax.vmap(lambda key: make(key, dict(*inits[:1])))(keys)
    return jtu.tree_map(lambda *xs: jnp.stack(xs), *map(make, keys, inits))


def add_note(e, note) -> None:
    if sys.version_info >= (3, 11):  # pyright: ignore
        e.add_note(note)
