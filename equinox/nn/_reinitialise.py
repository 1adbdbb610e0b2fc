import functools as ft
import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import jax.random as jrandom
import jax.tree_util as jtu
import numpy as np
from jaxtyping import PRNGKeyArray

from .._filters import combine, is_array, partition
from .._make_jaxpr import filter_make_jaxpr
from .._module import Module
from .._tree import tree_at, tree_equal
from .._vmap_pmap import filter_vmap
from ._batch_norm import BatchNorm
from ._initialise import add_note, draw, Initializer
from ._normalisation import GroupNorm, LayerNorm, RMSNorm
from ._shared import SharedNode
from ._weight_norm import WeightNorm


_T = TypeVar("_T")
_Init = Initializer | Mapping[str, Initializer | None] | None
_norms = (BatchNorm, GroupNorm, LayerNorm, RMSNorm)
_not_kept = {"weight", "bias", "weight_init", "bias_init", "key", "dtype"}
_fold_in = jax.jit(jrandom.fold_in)
_signature = ft.lru_cache(lambda cls: inspect.signature(cls).parameters)
_takes_init = lambda cls: {"weight_init", "bias_init"} & _signature(cls).keys()
_is_struct = lambda x: isinstance(x, jax.ShapeDtypeStruct)
_is_array = lambda x: is_array(x) or _is_struct(x)
_has_array = lambda x: any(map(_is_array, jtu.tree_leaves(x)))
_is_mapping = lambda x: isinstance(x, Mapping) and not callable(x)
_is_number = lambda dtype: jnp.issubdtype(dtype, jnp.number)
_canonical = jax.dtypes.canonicalize_dtype


def reinitialise(
    model: _T,
    *,
    weight_init: _Init = None,
    bias_init: _Init = None,
    where: Callable[[_T], Any] | None = None,
    select: Callable[[str, Any], bool | Mapping[str, _Init] | None] | None = None,
    key: PRNGKeyArray,
) -> _T:
    """Draws the weights and biases of the layers in a model again.

    !!! example

        ```python
        # Set all biases to zero.
        model = eqx.nn.reinitialise(model, bias_init=eqx.nn.init.zeros, key=key)

        # Draw all weights from another distribution. (But no scales of norms.)
        he_normal = eqx.nn.init.he_normal()
        model = eqx.nn.reinitialise(model, weight_init=he_normal, key=key)

        # Draw everything by its default, as when the model was made.
        model = eqx.nn.reinitialise(model, key=key)

        # Only a part of the model.
        model = eqx.nn.reinitialise(model, where=lambda m: m.encoder, key=key)

        # A rule for each layer.
        def select(path, layer):
            if isinstance(layer, eqx.nn.LSTMCell):
                return dict(bias_init={"forget": eqx.nn.init.ones})
            return "layers[0]" in path  # With the arguments of the call.

        normal = eqx.nn.init.normal(0.02)
        model = eqx.nn.reinitialise(
            model, weight_init=normal, select=select, key=key
        )
        ```

    A layer is a module that holds an array in a field whose name starts with `weight`
    or `bias` (or a list, tuple or dictionary of arrays), or that holds any array and
    has a constructor that takes `weight_init` or `bias_init`. This includes the layers
    of Equinox, and your own. It may be stacked, e.g. by [`equinox.filter_vmap`][].
    (Only along leading axes, which all of its arrays must have. Other axes cannot be
    told from those of a weight.)

    A layer is drawn by calling its constructor again, with the values of its fields as
    the arguments. What depends on the initialiser is taken from the result. Everything
    else stays as it is:

    - Weights, if `weight_init` is not given, and biases, if `bias_init` is not given.
    - The parameters that a dictionary such as `bias_init={"forget": ...}` leaves out.
    - The scale of a normalisation layer, and any other weight that is drawn with fewer
        than two axes. To draw these by `weight_init`, name the layer itself in `where`,
        or return a dictionary with `weight_init` from `select`. (If neither initialiser
        is given, or the scale is abstract, then it is drawn by its default.)

    The projections of an [`equinox.nn.MultiheadAttention`][] are layers themselves, so
    write `where=lambda m: m.attention.query_proj` rather than `{"query": ...}`.

    !!! warning

        Layers that are hidden in a callable that is not a PyTree, such as
        `jax.jit(layer)`, are not found. The running statistics of
        [`equinox.nn.BatchNorm`][] and [`equinox.nn.SpectralNorm`][] remain those of the
        old weights.

    **Arguments:**

    - `model`: Any PyTree. If it was made by [`equinox.filter_eval_shape`][], then what
        is drawn becomes an array.
    - `weight_init`: The `weight_init` argument of each layer.
    - `bias_init`: The `bias_init` argument of each layer. If neither this nor
        `weight_init` is given, then all weights and biases are drawn by their defaults.
    - `where`: A function from the model to the part or parts to draw, as for
        [`equinox.tree_at`][]. Parts are modules, or containers of them. Defaults to the
        whole model.
    - `select`: A function `select(path, layer)`, which is called for each layer in
        there. (The `path` is a string such as `".blocks[0].linear"`, as from
        `jax.tree_util.keystr`.) If it returns `True`, then the layer is drawn by the
        arguments above. If `False` or `None`, then it stays as it is. A dictionary with
        any of `weight_init` and `bias_init` overrides the arguments above.
    - `key`: A `jax.random.PRNGKey` used to draw the values. They also depend on how
        many layers come before. (Keyword only argument.)

    **Returns:**

    A copy of `model`, with the same structure, shapes and dtypes. (NumPy arrays become
    JAX arrays. To keep a sharding, use `jax.jit` with `out_shardings`.)

    The `g` of an [`equinox.nn.WeightNorm`][] is set to the norm of its new weight.
    (For a weight of zeros this divides by zero, as [`equinox.nn.WeightNorm`][] always
    does. A `g` whose weight is tied is not set.) Nodes that are tied by
    [`equinox.nn.Shared`][] remain so.

    **Raises:**

    A `ValueError` if a layer cannot be drawn as its constructor would: if this does not
    take the initialiser that is given, is that of a subclass which does not pass it on,
    takes an argument that it keeps in no field of the same name (other than `key` and
    `dtype`), changes an argument that it keeps, draws another array from `key`, or does
    not make an array where the layer holds one. For a subclass, an empty dictionary
    from `select` draws it by the constructor of its base class.

    A `ValueError` if there is nothing to draw, or if `where` returns an array or a
    module that occurs more than once. A `TypeError` or a `ValueError` for any other
    result of `select`. Exceptions that are raised by an initialiser pass through, with
    a note that names the layer.
    """
    inits = dict(weight_init=weight_init, bias_init=bias_init)
    parts, named = _find(model, where)
    num_layers = num_drawn = 0

    def visit(path, node, is_inside):
        nonlocal num_layers, num_drawn
        is_inside = is_inside or id(node) in parts
        flat, treedef = _flatten(node)
        below = lambda p, x: visit(path + p, x, is_inside)
        new = [below(p, x) if isinstance(x, Module) else x for p, x in flat]
        if _is_layer(node, flat):
            num_layers += 1
            name = jtu.keystr(path)
            chosen: Any = is_inside and (select is None or select(name, node))
            if chosen is not False and chosen is not None:
                # In a part of a container, it is not the layer that is named.
                is_field = isinstance(path[-1:][0], jtu.GetAttrKey) if path else True
                is_named = id(node) in named and (is_field or len(named) == 1)
                layer = _Layer(node, flat, name, inits, chosen, is_named)
                drawn = layer.draw(node, _fold_in(key, num_layers))
                num_drawn += any(x is not None for x in drawn)
                new = [x if y is None else y for x, y in zip(new, drawn)]
        new_node = jtu.tree_unflatten(treedef, new)
        return _renorm(node, new_node) if isinstance(node, WeightNorm) else new_node

    new_model: Any = visit((), model, False)
    if num_drawn == 0:
        raise ValueError(
            "Nothing was drawn: no layer that is selected has such a parameter. (The "
            "weight of a norm is its scale, which `select` or `where` has to name.)"
        )
    return new_model


def _find(model, where) -> tuple[set, set]:
    """The modules in which to draw, and what `where` itself names."""
    if where is None:
        return {id(model)}, set()
    nodes = []  # `is_leaf` is called on every one.
    jtu.tree_leaves(model, is_leaf=nodes.append)  # pyright: ignore
    count = Counter(map(id, nodes))
    named = jtu.tree_leaves(where(model), is_leaf=lambda x: id(x) in count)
    parts = jtu.tree_leaves(named, is_leaf=lambda x: isinstance(x, Module))
    for x in parts:
        if _is_array(x) or (_has_array(x) and count[id(x)] != 1):
            raise ValueError(
                "`where` must return modules, or containers of them, each of which "
                f"occurs once in the model. Got {x}."
            )
    return set(map(id, parts)), set(map(id, named))


def _flatten(node) -> tuple[list, Any]:
    is_below = lambda x: x is not node and isinstance(x, Module)
    return jtu.tree_flatten_with_path(node, is_leaf=is_below)


def _holds(flat, kind) -> bool:
    """Whether a module has weights or biases. (A box counts only by its very name.)"""
    is_named = lambda name, x: name.startswith(kind) if _is_array(x) else name == kind
    return any(is_named(path[0].name, x) and _has_array(x) for path, x in flat)


def _is_layer(node, flat) -> bool:
    if not isinstance(node, Module):
        return False
    takes_init = _takes_init(type(node)) and any(_is_array(x) for _, x in flat)
    return bool(takes_init) or _holds(flat, "weight") or _holds(flat, "bias")


class _Layer:
    """A layer that is drawn by calling its constructor again.

    This draws NaN for whatever stays as it is.
    """

    def __init__(self, node, flat, path, call, chosen, is_named):
        cls = type(node)
        self.name = f"`{cls.__module__}.{cls.__qualname__}` at `{path or '(root)'}`"
        own = {} if chosen is True else chosen
        if not isinstance(own, Mapping) or not own.keys() <= call.keys():
            raise (ValueError if isinstance(own, Mapping) else TypeError)(
                "`select` must return `True`, `False`, `None`, or a dictionary with "
                f"any of `weight_init` and `bias_init`. Got {own!r} for {self.name}."
            )
        bases = [c for c in cls.__mro__ if issubclass(c, Module) and _takes_init(c)]
        self.cls = bases[0] if chosen is not True and bases else cls
        self.arguments = _signature(self.cls).keys() if self.cls in bases else set()
        maker = next(c for c in self.cls.__mro__ if "__init__" in vars(c))
        self.is_own = not maker.__module__.startswith("equinox.")
        self.error = None
        inits = {**call, **own}
        self.is_default = not own and all(init is None for init in inits.values())
        self.kinds = {
            k[:-5] for k, x in inits.items() if self.is_default or x is not None
        }
        weight, bias = inits.values()
        self.is_plain = not (self.is_default or is_named or "weight_init" in own)
        if self.is_plain and isinstance(node, _norms):
            weight = None
            # A scale is no weight. If there is none as yet, it is drawn by its default.
            if not any(_is_struct(x) for _, x in flat):
                self.kinds.discard("weight")
        elif self.is_plain and self.is_own and callable(weight):
            weight = _no_scale(weight)
        self.is_whole = not self.is_own and not any(map(_is_mapping, (weight, bias)))
        partial = lambda init: _Partial(init) if _is_mapping(init) else init
        self.inits = dict(
            weight_init=partial(weight) if "weight" in self.kinds else _nan,
            bias_init=partial(bias) if "bias" in self.kinds else _nan,
        )

    def refuse(self, why) -> ValueError:
        return ValueError(
            f"Cannot draw {self.name}: {why}. (To leave it as it is, let `select` "
            "return `False`. To draw it as its base class, let it return a dictionary.)"
        )

    def draw(self, layer, key) -> list:
        """The new leaves of a layer or of a stack, `None` if they stay as they are."""
        new = self.draw_member(layer, key)
        if new is None:
            sizes = {x.shape[:1] for x in jtu.tree_leaves(layer) if _is_array(x)}
            if len(sizes) != 1 or () in sizes:
                why = self.error or "the shapes or dtypes differ"
                raise self.refuse(f"its constructor makes something else ({why})")
            arrays, rest = partition(layer, is_array)
            member = lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
            rest = jtu.tree_map(lambda x: member(x) if _is_struct(x) else x, rest)
            fn = lambda key, arrays: self.draw(combine(arrays, rest), key)
            new = filter_vmap(fn)(jrandom.split(key, *sizes), arrays)
        return new

    def draw_member(self, layer, key) -> list | None:
        """The same, or `None` if this is not a single layer."""
        flat, _ = _flatten(layer)
        new: list[Any] = [None] * len(flat)
        if not self.kinds:
            return new
        # Each array is cast to its own dtype, which is no wider.
        dtypes = [x.dtype for _, x in flat if _is_array(x)]
        width = lambda x: (jnp.issubdtype(x, jnp.inexact), x.itemsize)
        dtype = _canonical(max(filter(_is_number, dtypes), key=width, default=float))
        is_value = lambda x: isinstance(getattr(layer, x, None), bool | Number | str)
        names = {x for x in self.arguments if x not in _not_kept or is_value(x)}
        names = names if self.is_own else names & vars(layer).keys()
        try:
            kwargs = {name: getattr(layer, name) for name in names}
            made = _trace(self.cls, kwargs, dtype, key)
        except Exception as e:
            self.error = self.error or e
            return None
        drawn = self.find(flat, made)
        for path, x in (flat[i] for i in drawn):
            y, _ = made[path]
            if x.shape != y.shape or not np.can_cast(y.dtype, x.dtype, "same_kind"):
                return None
        if drawn:
            with jax.debug_nans(False):
                arrays, default = self.build(kwargs, dtype, key, self.inits), {}
                if not self.is_whole and any(_is_struct(flat[i][1]) for i in drawn):
                    default = self.build(kwargs, dtype, _fold_in(key, 0), {})
                for i in drawn:
                    path, x = flat[i]
                    x, y = default.get(path, x), arrays[path]
                    y = (
                        y
                        if self.is_whole
                        else jnp.where(jnp.isnan(y), x.astype(y.dtype), y)
                    )
                    new[i] = y.astype(_canonical(x.dtype))
        return new

    def find(self, flat, made) -> list[int]:
        """Which leaves to draw: those that depend on what is given."""
        found, drawn = set(), []
        # What has no argument is drawn with all else, or otherwise left alone.
        lacks = {x for x in self.kinds if f"{x}_init" not in self.arguments}
        lacks = tuple(lacks if self.is_default else ())
        others = tuple({"weight", "bias"} - self.kinds)
        for i, (path, x) in enumerate(flat):
            name = path[0].name
            _, uses = made.get(path, (None, set()))
            if path in made and name.startswith(lacks):
                uses = self.kinds
            found |= uses
            if uses & self.kinds and not isinstance(x, SharedNode):
                if not _is_array(x):
                    raise self.refuse(f"its constructor makes an array for {x}")
                drawn.append(i)
            elif uses == {"key"} and not name.startswith(others):
                raise self.refuse(f"its constructor draws its `{name}` again")
        is_scale = lambda x: self.is_plain and _is_array(x) and x.ndim < 2
        for kind in self.kinds - found:
            if _holds([x for x in flat if kind == "bias" or not is_scale(x[1])], kind):
                raise self.refuse(f"its constructor draws no {kind} by `{kind}_init`")
        return drawn

    def build(self, kwargs, dtype, key, inits) -> dict[tuple, Any]:
        """Calls the constructor, and returns the arrays that it makes."""
        try:
            made = _make(self.cls, kwargs, dtype, key, **inits)
        except Exception as e:
            add_note(e, f"This was to draw {self.name}. To leave it out, use `select`.")
            raise
        for name, x in kwargs.items() if self.is_own else ():
            y = getattr(made, name, None)
            is_equal = y is x or tree_equal(x, y)
            if isinstance(is_equal, jax.core.Tracer) or not is_equal:
                raise self.refuse(f"its constructor changes its `{name}` again")
        return dict(jtu.tree_flatten_with_path(made)[0])


def _make(cls, kwargs, dtype, key, **inits) -> Module:
    """Calls the constructor of a layer. (`None` is the default.)"""
    inits = {name: init for name, init in inits.items() if init is not None}
    others = dict(inits, dtype=dtype, key=key)
    return cls(**kwargs, **{k: x for k, x in others.items() if k in _signature(cls)})


def _trace(cls, kwargs, dtype, key) -> dict[tuple, tuple]:
    """The arrays that a constructor makes, and what they depend on: `"weight"` and
    `"bias"` are their initialisers, and `"key"` is other randomness."""
    args = (cls, tuple(kwargs.items()), dtype, key.dtype, key.shape)
    try:
        hash(args)
    except TypeError:
        return _uncached_trace(*args)
    return _cached_trace(*args)


def _uncached_trace(cls, kwargs, dtype, key_dtype, key_shape) -> dict[tuple, tuple]:
    def fn(weight, bias, key):
        full = lambda x: lambda key, shape, dtype=float: jnp.full(shape, x, dtype)
        inits = dict(weight_init=full(weight), bias_init=full(bias))
        return _make(cls, dict(kwargs), dtype, key, **inits)

    if not _takes_init(cls):
        return {}
    zero, key = jnp.zeros(()), jax.ShapeDtypeStruct(key_shape, key_dtype)
    closed, made, _ = filter_make_jaxpr(fn)(zero, zero, key)
    names = ({"weight"}, {"bias"}, {"key"})
    uses = dict(zip(map(id, closed.jaxpr.invars), names))
    for eqn in closed.jaxpr.eqns:
        used = set().union(*(uses.get(id(x), set()) for x in eqn.invars))
        uses.update((id(x), used) for x in eqn.outvars)
    arrays, _ = jtu.tree_flatten_with_path(made)
    outvars = closed.jaxpr.outvars
    return {p: (x, uses.get(id(y), set())) for (p, x), y in zip(arrays, outvars)}


_cached_trace = ft.lru_cache(_uncached_trace)


def _nan(key, shape, dtype=float):
    return jnp.full(shape, jnp.nan if jnp.issubdtype(dtype, jnp.inexact) else 0, dtype)


def _no_scale(init):
    """The same initialiser, but NaN for a shape of fewer than two axes."""

    def draw_weight(key, shape, dtype=float):
        weight_init = _nan if len(shape) < 2 else init
        return draw(weight_init, key, shape, dtype, name="weight_init")

    return draw_weight


class _Partial(dict):
    """A mapping by name, with NaN for the names that it does not have."""

    def get(self, name, default=None):
        return super().get(name) or _nan

    __getitem__ = get


def _renorm(old, new) -> WeightNorm:
    """Sets the `g` of a `WeightNorm` to the norm of its weight, if that is new."""
    weight = getattr(new.layer, new.weight_name)
    if weight is getattr(old.layer, old.weight_name):
        return new
    axes = tuple(i for i, size in enumerate(new.g.shape) if size == 1)
    g = jnp.sqrt(jnp.sum(jnp.abs(weight) ** 2, axes, keepdims=True))
    return tree_at(lambda node: node.g, new, g.astype(new.g.dtype))
