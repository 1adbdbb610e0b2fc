import inspect
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any, Protocol, runtime_checkable, TYPE_CHECKING, TypeVar

import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array

from .._pretty_print import tree_pformat
from ._misc import default_init


@runtime_checkable
class Initializer(Protocol):
    """The type of an initialiser: any callable `init(key, shape, dtype) -> Array`.

    This is the convention of `jax.nn.initializers` and of Flax, including the layout:
    for the weight of a linear map, `shape` is `(*spatial, in, out)`. The layer then
    converts the result to the layout in which it stores the weight. The initialisers in
    `equinox.nn.init` and in `jax.nn.initializers` all follow it, and you can write your
    own.

    An initialiser must be a pure function of `key`. In particular it may be called
    under `jax.jit` and `jax.vmap`: the groups of a convolution, the gates of a
    recurrent cell and the layers of a stack are drawn together, with a key each. (A
    generator of random numbers such as NumPy's would give all of them the same values.)

    The `dtype` is that of the layer, except that `jax.numpy.float32` is asked for in
    place of a floating point dtype of 16 bits or fewer. The result is cast to the dtype
    of the layer.
    """

    def __call__(self, key: Any, shape: tuple[int, ...], dtype: Any, /) -> Array: ...


if TYPE_CHECKING:
    _Name = TypeVar("_Name", bound=str)
    PerName = Initializer | Mapping[_Name, Initializer | None] | None
else:

    class PerName:  # At run time, `per_name` checks the names.
        __class_getitem__ = lambda cls, names: Initializer | Mapping | None


def init_weight(init, key, shape, dtype, lim, num_blocks=1, flip=False) -> Array:
    """Draws the weight of a linear map, stored as `(out, in, *spatial)`.

    It may consist of several linear maps side by side along `out`, each of which is
    drawn with a key of its own. With `flip`, its spatial axes are stored in reverse.
    """
    check_initialiser("weight_init", init)
    if init is None:
        return default_init(key, shape, dtype, lim)
    out, in_, *spatial = shape
    block_shape = (*spatial, in_, out // num_blocks)

    def draw_block(key):
        block = draw("weight_init", init, key, block_shape, dtype)
        block = jnp.moveaxis(block, (-1, -2), (0, 1))
        return jnp.flip(block, range(2, block.ndim)) if flip else block

    if num_blocks == 1:
        return draw_block(key)
    return jax.vmap(draw_block)(jrandom.split(key, num_blocks)).reshape(shape)


def init_bias(init, key, shape, dtype, lim, use_bias) -> Array | None:
    """Draws the bias of a linear map, stored as `(out, 1, ..., 1)`, if it has one."""
    check_initialiser("bias_init", init)
    if not use_bias:
        return None
    if init is None:
        return default_init(key, shape, dtype, lim)
    return draw("bias_init", init, key, shape[:1], dtype).reshape(shape)


def draw(argument, init, key, shape, dtype) -> Array:
    """Calls the initialiser that a layer was given as `argument`."""
    # In 16 bits or fewer, JAX draws normals from as few as 128 distinct values.
    out: Any = init(key, shape, at_least_32_bits(dtype))
    must = f"`{argument}` must return an array"
    if not isinstance(out, jax.Array | np.ndarray | np.generic):
        hint = _did_you_mean(init) if callable(out) else "."
        raise TypeError(f"{must}. Got {tree_pformat(out)}{hint}")
    if not keeps_kind(out.dtype, dtype):
        raise TypeError(f"{must} that casts to {jnp.dtype(dtype)}. Got {out.dtype}.")
    if out.shape != shape:
        layout = "(As in JAX, that of a weight is `(*spatial, in, out)`.)"
        raise ValueError(f"{must} of shape {shape}. Got {out.shape}. {layout}")
    # Not an array of NumPy's itself, which may yet be written to.
    return jnp.array(out, dtype, copy=not isinstance(out, jax.Array))


def at_least_32_bits(dtype) -> Any:
    is_small = jnp.issubdtype(dtype, jnp.floating) and jnp.dtype(dtype).itemsize <= 2
    return jnp.float32 if is_small else dtype


def keeps_kind(from_dtype, to_dtype) -> bool:
    """Whether a cast keeps the kind of number. (Complex to real does not.)"""
    kinds = (jnp.complexfloating, jnp.floating, jnp.integer, jnp.bool_)
    to_kind = [jnp.issubdtype(to_dtype, kind) for kind in kinds].index(True)
    return any(jnp.issubdtype(from_dtype, kind) for kind in kinds[to_kind:])


def per_layer(weight_init, bias_init, depth) -> list[dict[str, Any]]:
    """The `weight_init` and `bias_init` of each layer of an `MLP`."""

    num_layers = max(int(depth), 0) + 1

    def one_per_layer(argument, init):
        # A callable is an initialiser, even if it happens to be a tuple as well.
        if callable(init) or isinstance(init, str) or not isinstance(init, Sequence):
            init = [init] * num_layers
        elif len(init) != num_layers:
            raise ValueError(
                f"`{argument}` must be one initialiser, or a sequence of `depth + 1` "
                f"(={num_layers}) of them, input layer first. Got {len(init)} of them."
            )
        # Without hidden layers, `scan=True` makes an empty stack of them.
        empty = [None if init[0] is None else jinit.zeros] if num_layers == 2 else []
        first, *others = init
        return [first, *empty, *others]

    weight_inits = one_per_layer("weight_init", weight_init)
    return _pairs(weight_inits, one_per_layer("bias_init", bias_init))


def make_stack(make, keys, kwargs) -> Any:
    """Stacks the layers `make(key, kwargs)`: by `jax.vmap` if all `kwargs` agree."""
    if all(x is y for kw in kwargs for x, y in zip(kw.values(), kwargs[0].values())):
        return jax.vmap(lambda key: make(key, kwargs[0]))(keys)
    layers = [make(key, kw) for key, kw in zip(keys, kwargs)]
    return jtu.tree_map(lambda *xs: jnp.stack(xs), *layers)


def per_projection(weight_init, bias_init, has_bias) -> dict[str, dict[str, Any]]:
    """The `weight_init` and `bias_init` of each projection of `MultiheadAttention`."""
    names = ("query", "key", "value", "output")
    weight_inits = per_name("weight_init", weight_init, dict.fromkeys(names, True))
    bias_inits = per_name("bias_init", bias_init, dict(zip(names, has_bias)))
    return dict(zip(names, _pairs(weight_inits.values(), bias_inits.values())))


def per_name(argument, init, is_used) -> dict[str, Any]:
    """The initialisers of an argument that may be a mapping by name.

    `is_used` says of each name whether the layer has that parameter.
    """
    # A callable is an initialiser, even if it happens to be a mapping as well.
    if callable(init) or not isinstance(init, Mapping):
        check_initialiser(argument, init)
        return dict.fromkeys(is_used, init)
    for name, value in init.items():
        if name not in is_used or (value is not None and not is_used[name]):
            why = "The layer does not have that parameter."
            if name not in is_used:
                why = f"The accepted keys are {', '.join(map(repr, is_used))}."
            raise ValueError(f"`{argument}` has the key {name!r}. {why}")
        check_initialiser(f"{argument}[{name!r}]", value)
    return {name: init.get(name) for name in is_used}


def _pairs(weight_inits, bias_inits) -> list[dict[str, Any]]:
    pairs = zip(weight_inits, bias_inits)
    return [dict(weight_init=weight, bias_init=bias) for weight, bias in pairs]


def check_initialiser(argument, init) -> None:
    if init is None:
        return
    if takes(init, "key", "shape", "dtype") and not isinstance(init, type):
        return
    if isinstance(init, jax.Array | np.ndarray):
        hint = "; for a given array, use `eqx.tree_at` once the layer is made."
    elif isinstance(init, Number):
        hint = f"; for a constant, write `eqx.nn.init.constant({init})`."
    else:
        hint = _did_you_mean(init)
    raise TypeError(
        f"`{argument}` must be an initialiser, i.e. be called as `init(key, shape, "
        f"dtype)`, such as `eqx.nn.init.zeros`. Got {tree_pformat(init)}{hint}"
    )


def takes(fn, *names) -> bool:
    """Whether `fn` can be called with arguments of this meaning."""
    try:
        arguments = inspect.signature(fn).bind(*names).arguments
    except TypeError:
        return False
    except ValueError:  # Some builtins do not have a signature.
        return True
    # Unlike `numpy.zeros`, which takes its shape first.
    return arguments.get("shape", "shape") == "shape"


def _did_you_mean(init) -> str:
    name = getattr(init, "__name__", "")
    try:
        names = list(inspect.signature(init).parameters)
    except (TypeError, ValueError):
        return "."
    if names[:1] == ["shape"]:
        call = f"lambda key, shape, dtype: {name}({', '.join(names[:2])})"
    else:
        call = f"{name}()" if takes(init) else f"{name}(...)"
    return f"; did you mean `{call}`?" if name.isidentifier() else "."
