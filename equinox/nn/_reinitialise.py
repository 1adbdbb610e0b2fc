import dataclasses
import functools as ft
import hashlib
import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.nn.initializers as jinit
import jax.random as jrandom
import jax.tree_util as jtu
import numpy as np
from jaxtyping import PRNGKeyArray

from .._eval_shape import filter_eval_shape
from .._module import Module
from .._tree import tree_at
from ._batch_norm import BatchNorm
from ._conv import Conv, ConvTranspose
from ._embedding import Embedding
from ._initialise import (
    check_initialiser,
    check_where,
    Initializer,
    UnsuitableError,
)
from ._initialise_gates import draw_each
from ._linear import Linear
from ._normalisation import GroupNorm, LayerNorm, RMSNorm
from ._rnn import GRUCell, LSTMCell
from ._shared import SharedNode
from ._weight_norm import WeightNorm


_T = TypeVar("_T")
_layers = (
    BatchNorm,
    Conv,
    ConvTranspose,
    Embedding,
    GroupNorm,
    GRUCell,
    LayerNorm,
    Linear,
    LSTMCell,
    RMSNorm,
)


def reinitialise(
    model: _T,
    *,
    weight_init: Initializer | None = None,
    bias_init: Initializer | None = None,
    where: Callable[[tuple, Module], bool] | None = None,
    key: PRNGKeyArray,
) -> _T:
    """Draws afresh the parameters of every layer in a model.

    !!! example

        ```python
        # Set all biases to zero.
        model = eqx.nn.init.reinitialise(model, bias_init=eqx.nn.init.zeros, key=key)

        # Reinitialise only the linear and convolutional layers of `model.encoder`.
        def where(path, layer):
            in_encoder = jax.tree_util.keystr(path).startswith(".encoder")
            return in_encoder and isinstance(layer, eqx.nn.Linear | eqx.nn.Conv)

        model = eqx.nn.init.reinitialise(
            model, weight_init=eqx.nn.init.he_normal(), where=where, key=key
        )
        ```

    The layers are [`equinox.nn.Linear`][], [`equinox.nn.Conv`][],
    [`equinox.nn.ConvTranspose`][], [`equinox.nn.GRUCell`][], [`equinox.nn.LSTMCell`][],
    [`equinox.nn.Embedding`][], [`equinox.nn.LayerNorm`][], [`equinox.nn.RMSNorm`][],
    [`equinox.nn.GroupNorm`][] and [`equinox.nn.BatchNorm`][], and whatever subclasses
    or is made of these. They are found anywhere in `model`, also if it was made by
    [`equinox.filter_vmap`][]: then each member of the ensemble is drawn for itself.

    Every layer is drawn as if it was made anew with these initialisers. In particular,
    recurrent cells are drawn gate by gate. The values drawn for a layer depend only on
    `key` and on the path to the layer: they are the same whatever other layers there
    are, and whichever of these are chosen by `where`.

    !!! warning

        The weight of a normalisation layer is its scale, which usually is to remain
        one. Use `where` to leave out such layers.

    **Arguments:**

    - `model`: Any PyTree.
    - `weight_init`: The initialiser for all weights, which is called as
        `weight_init(key, shape, dtype)`. Defaults to not changing them.
    - `bias_init`: As `weight_init`, for all biases.
    - `where`: A function `where(path, layer)` that returns whether to reinitialise a
        layer. The `path` is that of `jax.tree_util.tree_flatten_with_path`; see
        also `jax.tree_util.keystr`. Defaults to all layers.
    - `key`: A `jax.random.PRNGKey` used to draw the values. (Keyword only argument.)

    **Returns:**

    A copy of `model`, with the same structure, shapes and dtypes. (But not necessarily
    on the same devices: use `jax.jit` with `out_shardings` for that.) The `g` of an
    [`equinox.nn.WeightNorm`][] is set to the norm of the new weight, as when it is
    made. (The state of an [`equinox.nn.SpectralNorm`][] is not part of the model, and
    follows during training.) Nodes that are tied by [`equinox.nn.Shared`][] remain so.

    **Raises:**

    A `ValueError` if nothing would change: if neither initialiser is given, or if no
    layer that is found and chosen has such a parameter. A `ValueError` if a parameter
    is not an array of the shape that its layer made it with, or if an initialiser
    cannot be used for the layer. A `TypeError` if either initialiser is not callable as
    `init(key, shape, dtype)`, or if `where` is not callable as `where(path, layer)`.
    """
    inits = dict(weight_init=weight_init, bias_init=bias_init)
    inits = {argument: init for argument, init in inits.items() if init is not None}
    if len(inits) == 0:
        raise ValueError(
            "There is nothing to do: at least one of `weight_init` and `bias_init` "
            "must be given."
        )
    for argument, init in inits.items():
        check_initialiser(argument, init)
    if where is not None:
        check_where(where)
    if not isinstance(key, jax.Array | np.ndarray):
        raise TypeError(f"`key` must be a `jax.random.PRNGKey`. Got {key!r}.")
    found: list[str] = []
    chosen: list[str] = []
    drawn: list[str] = []

    def visit(path: tuple, node: Any) -> Any:
        def is_below(x):
            return x is not node and isinstance(x, (*_layers, WeightNorm))

        pairs, treedef = jtu.tree_flatten_with_path(node, is_leaf=is_below)
        leaves = [visit(path + p, x) if is_below(x) else x for p, x in pairs]
        new = jtu.tree_unflatten(treedef, leaves)
        if isinstance(node, WeightNorm):
            return _renorm(node, new)
        if not isinstance(node, _layers):
            return new
        name = jtu.keystr(path) or "(the model itself)"
        found.append(name)
        if where is None or where(path, node):
            chosen.append(name)
            try:
                values = _draw(new, inits, _fold_in(key, path))
            except UnsuitableError as e:
                raise ValueError(
                    f"Cannot reinitialise the `{type(node).__name__}` at `{name}`: {e} "
                    "Use `where` to leave out such layers."
                ) from e.__cause__
            if values:
                drawn.append(name)
                get = lambda layer: [getattr(layer, name) for name in values]
                new = tree_at(get, new, list(values.values()))
        return new

    new_model = visit((), model)
    if not found:
        raise ValueError("`model` does not contain any layer to reinitialise.")
    if not chosen:
        raise ValueError(
            f"`where` does not choose any layer of the model. Its layers are at "
            f"{_enumerate(found)}."
        )
    if not drawn:
        raise ValueError(
            f"There is nothing to do: no layer has a parameter for "
            f"{' or '.join(f'`{argument}`' for argument in inits)}. The chosen layers "
            f"are at {_enumerate(chosen)}."
        )
    return new_model


def _draw(
    layer: Module, inits: dict[str, Initializer], key: PRNGKeyArray
) -> dict[str, Any]:
    """The new values of the parameters of a layer, by name.

    What a layer knows of its parameters is in its `__init__`. So call that again.
    """
    cls = next(c for c in type(layer).__mro__ if c in _layers)
    fields = [field.name for field in dataclasses.fields(cls)]  # pyright: ignore
    params = {}
    for name in fields:
        if name.startswith(("weight", "bias")):
            argument = "weight_init" if name.startswith("weight") else "bias_init"
            value = getattr(layer, name)
            if argument not in inits or value is None or isinstance(value, SharedNode):
                continue
            if not isinstance(value, jax.Array | np.ndarray | jax.ShapeDtypeStruct):
                raise UnsuitableError(
                    f"`{name}` is not an array, but a `{type(value).__name__}`."
                )
            params[name] = value
    if len(params) == 0:
        return {}
    arguments = inspect.signature(cls.__init__).parameters.keys()
    kwargs = {
        name: getattr(layer, name)
        for name in arguments
        if name in fields and not name.startswith(("weight", "bias"))
    }
    # Whatever is not asked for is cheap to make, and then thrown away.
    placeholders = {
        name: jinit.zeros for name in arguments if name in ("weight_init", "bias_init")
    }

    def make(names, dtype, init_kwargs, key):
        inits = {**placeholders, **init_kwargs}
        new = cls(**kwargs, dtype=dtype, **inits, key=key)
        return {name: getattr(new, name) for name in names}

    try:
        struct = filter_eval_shape(make, list(params), None, {}, key)
    except Exception as e:
        raise UnsuitableError(
            f"making a `{cls.__name__}` like it raises `{type(e).__name__}: {e}`."
        ) from e
    # Usually a layer has just a single dtype, and just a single batch shape.
    groups: dict[tuple, list[str]] = {}
    for name, value in params.items():
        if struct[name] is None:
            raise UnsuitableError(f"it was made without the `{name}` that it has.")
        shape = struct[name].shape
        batch_shape = value.shape[: value.ndim - len(shape)]
        if value.shape != batch_shape + shape:
            raise UnsuitableError(
                f"`{name}` has shape {value.shape}, which is not that with which it "
                f"was made, {shape}."
            )
        argument = "weight_init" if name.startswith("weight") else "bias_init"
        if 0 not in batch_shape:
            group = (argument, value.dtype, batch_shape)
            groups.setdefault(group, []).append(name)

    out = {}
    for (argument, dtype, batch_shape), names in groups.items():
        init = inits[argument]
        draw_one = ft.partial(make, names, dtype, {argument: init})
        # The constructor splits this key, and uses another part for each parameter.
        layer_key = jrandom.clone(key)
        if batch_shape == ():
            new = draw_one(layer_key)
        else:
            keys = jrandom.split(layer_key, math.prod(batch_shape))
            new = draw_each(init, draw_one, keys)
        for name in names:
            out[name] = new[name].reshape(params[name].shape)
    return out


def _renorm(old: WeightNorm, new: WeightNorm) -> WeightNorm:
    weight = getattr(new.layer, new.weight_name)
    if new.g is None or weight is getattr(old.layer, old.weight_name):
        return new
    # It may be stacked. (If more than one of these fits, then their values agree.)
    norm = new._norm
    for _ in range(new.g.ndim):
        g = norm(weight)
        if g.shape == new.g.shape:
            return tree_at(lambda x: x.g, new, g.astype(new.g.dtype))
        norm = jax.vmap(norm)
    return new


def _fold_in(key: PRNGKeyArray, path: tuple) -> PRNGKeyArray:
    digest = hashlib.sha256(jtu.keystr(path).encode()).digest()
    for i in (0, 4):
        key = jrandom.fold_in(key, int.from_bytes(digest[i : i + 4], "big"))
    return key


def _enumerate(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:10])
    return shown if len(names) <= 10 else f"{shown}, and {len(names) - 10} more"
