from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jrandom
from jaxtyping import Array, PRNGKeyArray

from .._misc import default_floating_dtype
from ._initialise import depends_on, draw, Parameter


def init_embedding(
    init: Any, key: PRNGKeyArray | None, shape: tuple[int, int], dtype: Any
) -> Array:
    """Draws the weight of an embedding: a matrix from embeddings to one-hot vectors."""
    if init is None:
        return jrandom.normal(key, shape, dtype=dtype)  # pyright: ignore
    return _draw_maybe_without_key(
        "weight_init", init, key, shape, dtype, Parameter(shape)
    )


def init_scale(init: Any, key: PRNGKeyArray | None, shape: Any, dtype: Any) -> Array:
    """Draws the weight of a normalisation layer."""
    return _init_elementwise("weight_init", init, jnp.ones, key, shape, dtype)


def init_shift(init: Any, key: PRNGKeyArray | None, shape: Any, dtype: Any) -> Array:
    """Draws the bias of a normalisation layer."""
    return _init_elementwise("bias_init", init, jnp.zeros, key, shape, dtype)


def _init_elementwise(
    argument: str,
    init: Any,
    default: Callable,
    key: PRNGKeyArray | None,
    shape: Any,
    dtype: Any,
) -> Array:
    if init is None:
        return default(shape, dtype=dtype)
    is_bias = argument == "bias_init"
    if key is not None:
        # Not `jax.random.split`: both parameters start from the same key.
        key = jrandom.fold_in(key, int(is_bias))
    shape = (shape,) if isinstance(shape, int) else shape
    dtype = default_floating_dtype() if dtype is None else dtype
    # Without a linear map there are no fans.
    param = Parameter((), is_bias=is_bias)
    return _draw_maybe_without_key(argument, init, key, shape, dtype, param)


def _draw_maybe_without_key(
    argument: str,
    init: Any,
    key: PRNGKeyArray | None,
    shape: tuple[int, ...],
    dtype: Any,
    param: Parameter,
) -> Array:
    def draw_by(key):
        return draw(argument, init, key, shape, dtype, param)

    if key is not None:
        return draw_by(key)

    # With any key, whilst checking that what is drawn does not depend on it.
    def draw_regardless_of(key):
        out = draw_by(key)
        if depends_on(out, key):
            raise needs_key
        return out

    needs_key = ValueError(
        f"`key` must be given, as the initialiser given as `{argument}` uses it."
    )
    any_key = jrandom.PRNGKey(0)
    try:
        return jax.vmap(draw_regardless_of, out_axes=None)(any_key[None])
    except jax.errors.JAXTypeError as e:
        # Either it needs the value of the key, or else raises this in any case.
        draw_by(any_key)
        raise needs_key from e
