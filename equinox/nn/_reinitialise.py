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

from .._filters import is_array
from .._make_jaxpr import filter_make_jaxpr
from .._module import Module
from .._tree import tree_at, tree_equal
from .._vmap_pmap import filter_vmap
from ._batch_norm import BatchNorm
from ._initialise import add_note, Initializer
from ._normalisation import GroupNorm, LayerNorm, RMSNorm
from ._shared import SharedNode
from ._weight_norm import WeightNorm


_T = TypeVar("_T")
_Init = Initializer | Mapping[str, Initializer | None] | None
_norms = (BatchNorm, GroupNorm, LayerNorm, RMSNorm)
# What a layer need not keep of its arguments. (The last is deprecated in `LayerNorm`.)
_not_kept = {"weight_init", "bias_init", "key", "dtype", "elementwise_affine"}
_fold_in = jax.jit(jrandom.fold_in)
_signature = ft.lru_cache(lambda cls: inspect.signature(cls).parameters)
_is_struct = lambda x: isinstance(x, jax.ShapeDtypeStruct)
_is_array = lambda x: is_array(x) or _is_struct(x)
_has_array = lambda x: any(_is_array(y) and y.size > 0 for y in jtu.tree_leaves(x))
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
        is given, or the scale is abstract, then it is drawn by its default. In a slice
        of a container, such as `m.layers[1:]`, no layer is named itself.)

    The projections of an [`equinox.nn.MultiheadAttention`][] are layers themselves, so
    write `where=lambda m: m.attention.query_proj` rather than `{"query": ...}`.

    !!! warning

        Layers that are hidden in a callable that is not a PyTree, such as
        `jax.jit(layer)`, are not found. The running statistics of
        [`equinox.nn.BatchNorm`][] and [`equinox.nn.SpectralNorm`][] remain those of the
        old weights. Copies of the model in the same PyTree, such as the moments in the
        state of an optimiser, are drawn as well: leave them out by `where`.

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
    - `key`: A `jax.random.PRNGKey` used to draw the values. (Keyword only argument.)
        What is drawn for a layer also depends on how many layers come before it.

    **Returns:**

    A copy of `model`, with the same structure, shapes and dtypes. (NumPy arrays become
    JAX arrays. To keep a sharding, use `jax.jit` with `out_shardings`.)

    The `g` of an [`equinox.nn.WeightNorm`][] is set to the norm of its new weight.
    (For a weight of zeros this divides by zero, as [`equinox.nn.WeightNorm`][] always
    does. A `g` whose weight is tied is not set.) Nodes that are tied by
    [`equinox.nn.Shared`][] remain so.

    **Raises:**

    A `ValueError` if a layer cannot be drawn by its constructor, because

    - the constructor does not take the initialiser that is given. (For a subclass, let
        `select` return a dictionary, such as `{}`, to draw it as its base class.)
    - an argument other than `key` and `dtype` is kept in no field of the same name, or
        is changed before it is kept.
    - the constructor draws another array from `key`, or makes arrays of other shapes.
    - the layer holds something else where the constructor makes an array.

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
                # Of a slice of a container, such as `m.layers[1:]`, none is named.
                is_field = isinstance(path[-1], jtu.GetAttrKey) if path else True
                is_named = id(node) in named and (is_field or len(named) == 1)
                layer = _Layer(node, flat, name, inits, chosen, is_named)
                drawn = layer.draw(node, _fold_in(key, num_layers))
                num_drawn += len(drawn)
                new = [drawn.get(i, x) for i, x in enumerate(new)]
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


def _takes_init(cls) -> bool:
    inits = {"weight_init", "bias_init"}
    return issubclass(cls, Module) and not inits.isdisjoint(_signature(cls))


def _holds(flat, *kinds) -> bool:
    """Whether a module has weights or biases. (A box counts only by its very name.)"""
    is_named = lambda name, x: name.startswith(kinds) if _is_array(x) else name in kinds
    return any(is_named(path[0].name, x) and _has_array(x) for path, x in flat)


def _is_layer(node, flat) -> bool:
    if _takes_init(type(node)) and any(_is_array(x) for _, x in flat):
        return True
    return isinstance(node, Module) and _holds(flat, "weight", "bias")


class _Layer:
    """A layer that is drawn by calling its constructor again.

    It has three kinds of parameters: `"weight"`, `"bias"`, and `"scale"`, which is the
    weight of a norm, or one that is drawn with fewer than two axes. Each kind has an
    initialiser: `None` for the default of the constructor, `_keep` for what stays.
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
        # If none takes an initialiser, then it is a class that makes no arrays.
        classes = [cls] if chosen is True else cls.__mro__
        self.cls = next(filter(_takes_init, classes), Module)
        inits = {**call, **own}.values()
        self.is_default = not own and all(init is None for init in inits)
        weight, bias = inits if self.is_default else map(_or_keep, inits)
        is_plain = not (self.is_default or is_named or "weight_init" in own)
        self.inits = dict(weight=weight, bias=bias, scale=_keep if is_plain else weight)
        self.kinds = {kind for kind, init in self.inits.items() if init is not _keep}
        self.abstract = {i for i, (_, x) in enumerate(flat) if _is_struct(x)}
        if self.abstract and "weight" in self.kinds:
            self.kinds.add("scale")  # There is none yet that could stay as it is.

    def refuse(self, why) -> ValueError:
        return ValueError(
            f"Cannot draw {self.name}: {why}. (To leave it as it is, let `select` "
            "return `False`. To draw it as its base class, let it return a dictionary.)"
        )

    def draw(self, layer, key) -> dict[int, Any]:
        """The new leaves of a layer or of a stack, by their index."""
        new = self.draw_member(layer, key)
        if not isinstance(new, dict):
            sizes = {x.shape[:1] for x in jtu.tree_leaves(layer) if _is_array(x)}
            if len(sizes) != 1 or () in sizes:
                raise self.refuse(f"it cannot be made again from its fields ({new})")
            zeros = lambda x: jnp.zeros(x.shape, x.dtype) if _is_struct(x) else x
            stack = jtu.tree_map(zeros, layer)
            new = filter_vmap(self.draw)(stack, jrandom.split(key, *sizes))
        return new

    def draw_member(self, layer, key) -> dict[int, Any] | Exception | str:
        """The same, or why this is not a single layer."""
        if not self.kinds:
            return {}
        flat, _ = _flatten(layer)
        # Each array is cast to its own dtype, which is no wider.
        is_number = lambda x: _is_array(x) and jnp.issubdtype(x.dtype, jnp.number)
        dtypes = [x.dtype for _, x in flat if is_number(x)]
        width = lambda x: (jnp.issubdtype(x, jnp.inexact), x.itemsize)
        dtype = _canonical(max(dtypes, key=width, default=float))
        is_value = lambda x: isinstance(getattr(layer, x, None), Number | str)
        not_kept = _not_kept | {x for x in ("weight", "bias") if not is_value(x)}
        names = [x for x in _signature(self.cls) if x not in not_kept]
        try:
            kwargs = {name: getattr(layer, name) for name in names}
            made = _trace(self.cls, kwargs, dtype, key)
        except Exception as e:
            return e
        drawn = self.find(flat, made)
        if not drawn or isinstance(drawn, str):
            return drawn
        with jax.debug_nans(False):
            new, default = {}, {}
            arrays = self.build(kwargs, dtype, key, self.inits)
            if any(i in self.abstract and not drawn[i] for i in drawn):
                default = self.build(kwargs, dtype, _fold_in(key, 0), {})
            for i, is_whole in drawn.items():
                path, x = flat[i]
                y = arrays[path]
                if not is_whole:
                    old = default[path] if i in self.abstract else x
                    y = jnp.where(jnp.isnan(y), old.astype(y.dtype), y)
                new[i] = y.astype(_canonical(x.dtype))
        return new

    def find(self, flat, made) -> dict[int, bool] | str:
        """Which leaves to draw, i.e. those that depend on what is given, and whether
        they depend on nothing that stays as it is. Or why they cannot be drawn."""
        drawn, found = {}, {"scale"}
        is_whole = lambda init: init is not _keep and not isinstance(init, _Partial)
        whole = {"key"} | {kind for kind, init in self.inits.items() if is_whole(init)}
        # What has no argument is drawn with all else, or otherwise left alone.
        kinds = {"weight", "bias"}
        lacks = {x for x in kinds if f"{x}_init" not in _signature(self.cls)}
        lacks = tuple(lacks if self.is_default else ())
        others = tuple(kinds - self.kinds)
        for i, (path, x) in enumerate(flat):
            name = path[0].name
            y, uses = made.get(path, (None, set()))
            if path in made and name.startswith(lacks):
                uses = self.kinds
            found |= {"weight" if kind == "scale" else kind for kind in uses}
            if uses & self.kinds and not isinstance(x, SharedNode):
                if not _is_array(x):
                    raise self.refuse(f"its constructor makes an array for {x}")
                if x.shape != y.shape or not np.can_cast(y.dtype, x.dtype, "same_kind"):
                    return "the shapes or dtypes differ"
                drawn[i] = uses <= whole
            elif uses == {"key"} and not name.startswith(others):
                raise self.refuse(f"its constructor draws its `{name}` again")
        # Without an initialiser to tell a scale by, it is one by its axes.
        is_left = lambda x: _is_array(x) and x.ndim < 2 and "scale" not in self.kinds
        for kind in sorted(self.kinds - found):
            if _holds([x for x in flat if kind == "bias" or not is_left(x[1])], kind):
                raise self.refuse(f"its constructor draws no {kind} by `{kind}_init`")
        return drawn

    def build(self, kwargs, dtype, key, inits) -> dict[tuple, Any]:
        """Calls the constructor, and returns the arrays that it makes."""
        try:
            made = _make(self.cls, kwargs, dtype, key, **inits)
        except Exception as e:
            add_note(e, f"This was to draw {self.name}. To leave it out, use `select`.")
            raise
        for name, x in kwargs.items():
            y = getattr(made, name, None)
            is_equal = y is x or tree_equal(x, y)
            if isinstance(is_equal, jax.core.Tracer) or not is_equal:
                raise self.refuse(f"its constructor changes its `{name}` again")
        return dict(jtu.tree_flatten_with_path(made)[0])


def _make(cls, kwargs, dtype, key, weight=None, bias=None, scale=None) -> Module:
    """Calls the constructor of a layer, with an initialiser for each kind. (`None` is
    the default.)"""

    def by_axes(key, shape, dtype=float):
        init: Any = scale if len(shape) < 2 else weight
        return init(key, shape, dtype)

    weight_init = scale if issubclass(cls, _norms) else weight
    # What is no initialiser is left for the constructor to refuse.
    if weight_init is not scale and callable(weight) and not isinstance(weight, type):
        weight_init = by_axes
    others = dict(weight_init=weight_init, bias_init=bias, dtype=dtype, key=key)
    others = {k: x for k, x in others.items() if x is not None and k in _signature(cls)}
    return cls(**kwargs, **others)


def _trace(cls, kwargs, dtype, key) -> dict[tuple, tuple]:
    """The arrays that a constructor makes, and what they depend on: the kinds of
    initialisers, and `"key"` for other randomness."""
    key = jax.ShapeDtypeStruct(key.shape, key.dtype)
    args = (cls, tuple(kwargs.items()), dtype, key)
    try:
        return _cached_trace(*args)
    except TypeError:  # An argument may not be hashable.
        return _cached_trace.__wrapped__(*args)


@ft.lru_cache
def _cached_trace(cls, kwargs, dtype, key) -> dict[tuple, tuple]:
    def fn(inits, key):
        full = lambda x: lambda key, shape, dtype=float: jnp.full(shape, x, dtype)
        return _make(cls, dict(kwargs), dtype, key, *map(full, inits))

    closed, made, _ = filter_make_jaxpr(fn)([jnp.zeros(())] * 3, key)
    names = ({"weight"}, {"bias"}, {"scale"}, {"key"})
    uses = dict(zip(map(id, closed.jaxpr.invars), names))
    for eqn in closed.jaxpr.eqns:
        used = set().union(*(uses.get(id(x), set()) for x in eqn.invars))
        uses.update((id(x), used) for x in eqn.outvars)
    arrays, _ = jtu.tree_flatten_with_path(made)
    outvars = closed.jaxpr.outvars
    return {p: (x, uses.get(id(y), set())) for (p, x), y in zip(arrays, outvars)}


def _keep(key, shape, dtype=float):
    """Draws NaN, which is replaced by what was there before."""
    return jnp.full(shape, jnp.nan if jnp.issubdtype(dtype, jnp.inexact) else 0, dtype)


def _or_keep(init):
    """The same initialiser, where `None` is to keep what is there, not the default."""
    if isinstance(init, Mapping) and not callable(init):
        return _Partial(init)
    return _keep if init is None else init


class _Partial(dict):
    """Initialisers by name, with `_keep` for every other name."""

    def get(self, name, default=None):
        return _or_keep(super().get(name))

    __getitem__ = get


def _renorm(old, new) -> WeightNorm:
    """Sets the `g` of a `WeightNorm` to the norm of its weight, if that is new."""
    weight = getattr(new.layer, new.weight_name)
    if weight is getattr(old.layer, old.weight_name):
        return new
    axes = tuple(i for i, size in enumerate(new.g.shape) if size == 1)
    g = jnp.sqrt(jnp.sum(jnp.abs(weight) ** 2, axes, keepdims=True))
    return tree_at(lambda node: node.g, new, g.astype(new.g.dtype))
