import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.core
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from .._filters import is_array
from .._misc import default_floating_dtype
from .._module import Module
from ._misc import default_init


@runtime_checkable
class Initializer(Protocol):
    """The type of an initialiser: any callable `init(key, shape, dtype) -> Array`.

    This is JAX's own convention: everything that `equinox.nn.init` and
    `jax.nn.initializers` make is an initialiser, and so is any function or lambda of
    that form.
    """

    def __call__(
        self, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any, /
    ) -> Array: ...


class Parameter(NamedTuple):
    """What a layer tells our own initialisers about the parameter being drawn.

    A bias is described by the weight that it belongs to: `weight_shape` and `groups`
    are always those of the weight, `(out, in // groups, *spatial)`. A parameter that
    does not belong to a linear map has an empty `weight_shape`.
    """

    weight_shape: tuple[int, ...]
    groups: int = 1
    is_bias: bool = False
    is_transposed: bool = False  # That is to say, of a transposed convolution.

    @property
    def fan_in(self) -> int:
        return math.prod(self.weight_shape[1:])

    @property
    def fan_out(self) -> int:
        out, _, *spatial = self.weight_shape
        return (out // self.groups) * math.prod(spatial)

    @property
    def fan_in_limit(self) -> float:
        return 1.0 if self.fan_in == 0 else 1 / math.sqrt(self.fan_in)


class UnsuitableError(ValueError):
    """Raised by one of our initialisers that cannot draw the parameter at hand."""


class ParameterInitialiser(Module):
    """Base of the initialisers in `equinox.nn.init`.

    As for any other callable, `init(key, shape, dtype)` is all that there is to using
    one by hand. A layer however calls `draw`, and so hands over what the shape alone
    does not tell.
    """

    # Whether it calls a function that is not ours, which may do anything.
    is_adapter = False

    def __call__(
        self, key: PRNGKeyArray, shape: Sequence[int], dtype: Any = None
    ) -> Array:
        """**Arguments:**

        - `key`: A `jax.random.PRNGKey` used to draw the values.
        - `shape`: The shape to draw, read as `(out, in, *spatial)`.
        - `dtype`: The dtype to draw. Defaults to either `jax.numpy.float32` or
            `jax.numpy.float64` depending on whether JAX is in 64-bit mode.

        **Returns:**

        A JAX array of shape `shape` and dtype `dtype`.
        """
        dtype = default_floating_dtype() if dtype is None else dtype
        shape = tuple(shape)
        return self.draw(Parameter(shape), key, shape, dtype)

    def draw(
        self, param: Parameter, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        raise NotImplementedError

    def __hash__(self) -> int:
        # Unlike that of `Module`, allows for arrays.
        leaves, treedef = jtu.tree_flatten(self)
        leaves = ((x.shape, x.dtype) if is_array(x) else x for x in leaves)
        return hash((treedef, *leaves))


def init_weight(
    init: Any,
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    dtype: Any,
    groups: int = 1,
    is_transposed: bool = False,
) -> Array:
    """Draws the weight of a layer. `init` is its `weight_init` argument."""
    param = Parameter(shape, groups, is_transposed=is_transposed)
    return _initialise("weight_init", init, key, shape, dtype, param)


def init_bias(
    init: Any,
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    dtype: Any,
    weight_shape: tuple[int, ...],
    groups: int = 1,
) -> Array:
    """Draws the bias of a layer. `init` is its `bias_init` argument."""
    param = Parameter(weight_shape, groups, is_bias=True)
    return _initialise("bias_init", init, key, shape, dtype, param)


def _initialise(
    argument: str,
    init: Any,
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    dtype: Any,
    param: Parameter,
) -> Array:
    if init is None:
        return default_init(key, shape, dtype, param.fan_in_limit)
    else:
        return draw(argument, init, key, shape, dtype, param)


def draw(
    argument: str,
    init: Any,
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    dtype: Any,
    param: Parameter,
) -> Array:
    """Draws by the initialiser that a layer was given as `argument`."""
    check_initialiser(argument, init)
    if isinstance(init, ParameterInitialiser):
        try:
            out = init.draw(param, key, shape, dtype)
        except UnsuitableError as e:
            message = f"`{argument}` cannot be `{_name(init)}`. {e}"
            raise UnsuitableError(message) from None
    else:
        out = init(key, shape, dtype)
    return check_result(argument, init, out, shape, dtype)


def depends_on(out: Any, key: PRNGKeyArray) -> bool:
    """Whether what was drawn within a `vmap` over keys depends on them."""
    # Rather than the type, as there may be further transformations around it.
    return getattr(out, "_trace", None) is key._trace  # pyright: ignore


def per_layer(
    weight_init: Any, bias_init: Any, depth: int, scan: bool
) -> list[dict[str, Any]]:
    """The `weight_init` and `bias_init` arguments of each of `depth + 1` layers.

    With `scan` the hidden layers are a single stack (an empty one if `depth == 1`),
    and so they must agree on their initialiser.
    """
    weight_inits = _one_per_layer("weight_init", weight_init, depth, scan)
    bias_inits = _one_per_layer("bias_init", bias_init, depth, scan)
    return [
        dict(weight_init=w, bias_init=b)
        for w, b in zip(weight_inits, bias_inits, strict=True)
    ]


def per_name(
    weight_init: Any, bias_init: Any, names: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """The `weight_init` and `bias_init` arguments of each of the named layers."""
    weight_inits = one_per_name("weight_init", weight_init, names)
    bias_inits = one_per_name("bias_init", bias_init, names)
    return {
        name: dict(weight_init=weight_inits[name], bias_init=bias_inits[name])
        for name in names
    }


def _one_per_layer(argument: str, init: Any, depth: int, scan: bool) -> list[Any]:
    if isinstance(init, Sequence) and not isinstance(init, str | bytes):
        inits = list(init)
        if len(inits) != depth + 1:
            raise ValueError(
                f"`{argument}` must be one initialiser, or a sequence of `depth + 1` "
                f"(={depth + 1}) initialisers, input layer first. Got a sequence of "
                f"length {len(inits)}."
            )
    else:
        inits = [init] * (depth + 1)
    if scan and depth == 1:
        # `MLP` makes the empty stack all the same, and so asks for its initialiser.
        # Any will do: none of the given ones, which are for other shapes.
        inits.insert(1, None if init is None else jax.nn.initializers.zeros)
    for entry in inits if scan else []:
        if entry is not None:
            check_initialiser(argument, entry)
    if scan and not all(_is_equal(x, inits[1]) for x in inits[2:-1]):
        raise ValueError(
            f"`{argument}` must have equal entries for all hidden layers if "
            f"`scan=True`, as these are drawn as one stack. Got {inits[1:-1]}."
        )
    return inits


def _is_equal(x: Any, y: Any) -> bool:
    if x is y:
        return True
    x_leaves, x_treedef = jtu.tree_flatten(x)
    y_leaves, y_treedef = jtu.tree_flatten(y)
    if x_treedef != y_treedef:
        return False
    # The values of tracers are not known: they are equal if they are the same.
    pairs = list(zip(x_leaves, y_leaves))
    has_tracer = any(isinstance(leaf, jax.core.Tracer) for leaf in x_leaves + y_leaves)
    return all(a is b for a, b in pairs) if has_tracer else bool(x == y)


def one_per_name(argument: str, init: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """The initialiser for each of `names`, of an argument that may be a mapping."""
    if not isinstance(init, Mapping):
        return dict.fromkeys(names, init)
    for name in init:
        if name not in names:
            raise ValueError(
                f"`{argument}` has an unknown key {name!r}. The accepted keys are "
                f"{', '.join(map(repr, names))}."
            )
    return {name: init.get(name) for name in names}


def check_initialiser(argument: str, init: Any) -> None:
    """Raises a `TypeError` for whatever cannot be an initialiser."""
    if not callable(init):
        if isinstance(init, str):
            hint = "Initialisers are not looked up by name."
        elif isinstance(init, bool):
            hint = ""
        elif isinstance(init, int | float | complex | np.generic):
            hint = f"For a constant, write `eqx.nn.init.constant({init})`."
        elif isinstance(init, jax.Array | np.ndarray):
            hint = "For a given array, write `lambda key, shape, dtype: array`."
        elif isinstance(init, Mapping | Sequence):
            hint = (
                "Sequences and mappings of initialisers are accepted only by the "
                "layers whose documentation says so."
            )
        else:
            hint = ""
        raise TypeError(
            f"`{argument}` must be an initialiser, i.e. a callable "
            "`init(key, shape, dtype) -> Array` such as `eqx.nn.init.zeros` or "
            f"`eqx.nn.init.he_normal()`. Got {_describe(init)}. {hint}".rstrip()
        )
    if isinstance(init, type) or not _accepts(init, 3):
        raise TypeError(
            f"`{argument}` must be callable as `init(key, shape, dtype) -> Array`, "
            f"which `{_name(init)}` is not.{_did_you_mean(init)}"
        )


def check_where(where: Any) -> None:
    """Raises a `TypeError` for whatever cannot be the `where` of `reinitialise`."""
    if not callable(where) or isinstance(where, type) or not _accepts(where, 2):
        raise TypeError(
            "`where` must be a function `where(path, layer)` that returns whether to "
            f"reinitialise the layer. Got {_describe(where)}."
        )


def check_result(
    argument: str, init: Any, out: Any, shape: tuple[int, ...], dtype: Any
) -> Array:
    """Checks what an initialiser returned, and casts it to the dtype of the layer."""
    if not _is_numeric_array(out):
        hint = _did_you_mean(init) if callable(out) else ""
        raise TypeError(
            f"`{argument}` must return an array. Got {_describe(out)} from "
            f"`{_name(init)}`.{hint}"
        )
    if out.shape != shape:
        raise ValueError(
            f"`{argument}` must return an array of shape {shape}. Got shape "
            f"{out.shape} from `{_name(init)}`."
        )
    if not keeps_kind(out.dtype, dtype):
        raise TypeError(
            f"`{argument}` must return an array that can be cast to the dtype "
            f"{jnp.dtype(dtype).name} of the parameter. Got dtype {out.dtype.name} "
            f"from `{_name(init)}`."
        )
    # Also makes weakly typed results strongly typed.
    return jnp.asarray(out, dtype)


def keeps_kind(from_dtype: Any, to_dtype: Any) -> bool:
    """Whether a cast keeps the kind of number. (Complex to real does not.)"""
    kinds = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
    from_kind, to_kind = (
        [jnp.issubdtype(dtype, kind) for kind in kinds].index(True)
        for dtype in (from_dtype, to_dtype)
    )
    return from_kind <= to_kind


def _is_numeric_array(x: Any) -> bool:
    return isinstance(x, jax.Array | np.ndarray | np.generic) and (
        jnp.issubdtype(x.dtype, jnp.number) or jnp.issubdtype(x.dtype, jnp.bool_)
    )


def _accepts(fn: Any, num_args: int) -> bool:
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # Some builtins do not have a signature.
        return True
    try:
        signature.bind(*([None] * num_args))
    except TypeError:
        return False
    return True


def _did_you_mean(init: Any) -> str:
    name = _name(init)
    if not name.isidentifier():
        return ""
    args = "" if _accepts(init, 0) else "..."
    return (
        f" If `{name}` is a function that makes initialisers, then did you mean "
        f"`{name}({args})`?"
    )


def _describe(x: Any) -> str:
    if isinstance(x, jax.Array | np.ndarray):
        return f"an array of shape {x.shape} and dtype {x.dtype}"
    else:
        return f"{_shorten(repr(x))} of type `{type(x).__name__}`"


def _name(init: Any) -> str:
    return _shorten(getattr(init, "__name__", None) or repr(init))


def _shorten(text: str) -> str:
    return text if len(text) <= 100 else text[:97] + "..."
