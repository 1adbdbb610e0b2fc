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
_kinds = dict(weight={"weight", "matrix"}, bias={"bias"})
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
                layer = _Layer(node, name, inits, chosen, is_named)
                drawn = layer.draw(node, _fold_in(key, num_layers))
                num_drawn += any(x is not None for x in drawn)
                new = [x if y is None else y for x, y in zip(new, drawn)]
        new_node = jtu.tree_unflatten(treedef, new)
        return _renorm(node, new_node) if isinstance(node, WeightNorm) else new_node

    model = visit((), model, False)
    if num_drawn == 0:
        raise ValueError(
            "Nothing was drawn: no layer that is selected has such a parameter. (The "
            "weight of a norm is its scale, which `select` or `where` has to name.)"
        )
    return model


def _find(model, where) -> tuple[set, set]:
    """The modules in which to draw, and what `where` itself names."""
    if where is None:
        return {id(model)}, set()
    nodes = []
    jtu.tree_leaves(model, is_leaf=nodes.append)  # Is called on every node.
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
    return takes_init or _holds(flat, "weight") or _holds(flat, "bias")


class _Layer:
    """A layer that is drawn by calling its constructor again.

    `inits` holds an initialiser for each thing to draw: `"bias"`, `"matrix"` for
    weights with at least two axes, and `"weight"` for all weights, so also for scales.
    `None` is the default.
    """

    def __init__(self, node, path, inits, chosen, is_named):
        cls = type(node)
        self.name = f"`{cls.__module__}.{cls.__qualname__}` at `{path or '(root)'}`"
        own = {} if chosen is True else chosen
        if not isinstance(own, Mapping) or not own.keys() <= inits.keys():
            raise (ValueError if isinstance(own, Mapping) else TypeError)(
                "`select` must return `True`, `False`, `None`, or a dictionary with "
                f"any of `weight_init` and `bias_init`. Got {own!r} for {self.name}."
            )
        weight_init, bias_init = {**inits, **own}.values()
        given = dict(matrix=weight_init, bias=bias_init)
        if is_named or "weight_init" in own:
            given["weight"] = weight_init
        self.inits = {kind: init for kind, init in given.items() if init is not None}
        if not self.inits and not own:
            self.inits = dict.fromkeys(("matrix", "bias", "weight"))
        bases = [c for c in cls.__mro__ if issubclass(c, Module) and _takes_init(c)]
        self.cls = bases[0] if chosen is not True and bases else cls
        takes_init = self.cls in bases
        self.arguments = _signature(self.cls).keys() if takes_init else set()
        self.error = None
        self.is_partial = any(map(_is_mapping, self.inits.values()))
        maker = next(c for c in self.cls.__mro__ if "__init__" in vars(c))
        self.is_own = not maker.__module__.startswith("equinox.")

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
        if not self.inits:
            return new
        # Each array is cast to its own dtype, which is no wider.
        dtypes = [x.dtype for _, x in flat if _is_array(x)]
        width = lambda x: (jnp.issubdtype(x, jnp.inexact), x.itemsize)
        dtype = _canonical(max(filter(_is_number, dtypes), key=width, default=float))
        is_plain = lambda x: isinstance(getattr(layer, x, None), bool | Number | str)
        names = {x for x in self.arguments if x not in _not_kept or is_plain(x)}
        names = names if self.is_own else names & vars(layer).keys()
        try:
            kwargs = {name: getattr(layer, name) for name in names}
            made = _trace(self.cls, kwargs, dtype, key)
        except Exception as e:
            self.error = self.error or e
            return None
        inits = dict(self.inits)
        has_matrix = any("matrix" in use for _, use in made.values())
        if "matrix" in inits and (isinstance(layer, _norms) or not has_matrix):
            # It only has a scale. If that is abstract, then it is drawn by its default.
            del inits["matrix"]
            is_struct = any(_is_struct(x) for _, x in flat)
            inits = {"weight": None, **inits} if is_struct else inits
        drawn = self.find(flat, made, inits)
        for path, x in (flat[i] for i in drawn):
            y, _ = made[path]
            if x.shape != y.shape or not np.can_cast(y.dtype, x.dtype, "same_kind"):
                return None
        if drawn:
            is_struct = any(_is_struct(flat[i][1]) for i in drawn)
            with jax.debug_nans(False):
                arrays = self.build(kwargs, dtype, key, inits, is_struct)
                for i in drawn:
                    path, x = flat[i]
                    y = arrays[path].astype(_canonical(x.dtype))
                    is_whole = is_struct or not (self.is_own or self.is_partial)
                    new[i] = y if is_whole else jnp.where(jnp.isnan(y), x, y)
        return new

    def find(self, flat, made, inits) -> list[int]:
        """Which leaves to draw: those that depend on what is given."""
        found, drawn = set(), []
        # What has no argument is drawn with all else, or otherwise left alone.
        lacks = [k for k in _kinds if inits.get(k, "") is None]
        lacks = tuple(k for k in lacks if f"{k}_init" not in self.arguments)
        others = tuple(k for k in _kinds if not inits.keys() & _kinds[k])
        for i, (path, x) in enumerate(flat):
            _, uses = made.get(path, (None, set()))
            if path in made and path[0].name.startswith(lacks):
                uses = inits.keys()
            found |= uses
            if uses & inits.keys() and not isinstance(x, SharedNode):
                if not _is_array(x):
                    raise self.refuse(f"its constructor makes an array for {x}")
                drawn.append(i)
            elif uses == {"key"} and not path[0].name.startswith(others):
                raise self.refuse(f"its constructor draws its `{path[0].name}` again")
        is_scale = lambda x: "weight" not in self.inits and _is_array(x) and x.ndim < 2
        for kind, names in _kinds.items():
            held = [(p, x) for p, x in flat if kind == "bias" or not is_scale(x)]
            if _holds(held, kind) and self.inits.keys() & names and not found & names:
                raise self.refuse(f"its constructor draws no {kind} by `{kind}_init`")
        return drawn

    def build(self, kwargs, dtype, key, inits, is_struct) -> dict[tuple, Any]:
        """Calls the constructor, with NaN for whatever stays as it is."""
        rest = None if is_struct else _nan
        weight, bias = (inits.get(kind, rest) for kind in _kinds)
        if "matrix" in inits:
            weight = _by_ndim(inits.get("weight", _nan), inits["matrix"])
        if self.is_partial and not is_struct:
            weight, bias = (
                _Partial(x) if _is_mapping(x) else x for x in (weight, bias)
            )
        try:
            made = _make(self.cls, kwargs, dtype, key, weight, bias)
        except Exception as e:
            add_note(e, f"This was to draw {self.name}. To leave it out, use `select`.")
            raise
        for name, x in kwargs.items() if self.is_own else ():
            y = getattr(made, name, None)
            is_equal = y is x or tree_equal(x, y)
            if isinstance(is_equal, jax.core.Tracer) or not is_equal:
                raise self.refuse(f"its constructor changes its `{name}` again")
        return dict(jtu.tree_flatten_with_path(made)[0])


def _make(cls, kwargs, dtype, key, weight_init, bias_init) -> Module:
    """Calls the constructor of a layer. (`None` is the default.)"""
    inits = dict(weight_init=weight_init, bias_init=bias_init)
    inits = {name: init for name, init in inits.items() if init is not None}
    others = dict(inits, dtype=dtype, key=key)
    return cls(**kwargs, **{k: x for k, x in others.items() if k in _signature(cls)})


def _trace(cls, kwargs, dtype, key) -> dict[tuple, tuple]:
    """The arrays that the constructor of a layer makes, and what each depends on."""
    args = (cls, tuple(kwargs.items()), dtype, key.dtype, key.shape)
    try:
        hash(args)
    except TypeError:
        return _uncached_trace(*args)
    return _cached_trace(*args)


def _uncached_trace(cls, kwargs, dtype, key_dtype, key_shape) -> dict[tuple, tuple]:
    def fn(weight, matrix, bias, key):
        full = lambda x: lambda key, shape, dtype=float: jnp.full(shape, x, dtype)
        weight_init = _by_ndim(full(weight), full(matrix))
        return _make(cls, dict(kwargs), dtype, key, weight_init, full(bias))

    if not _takes_init(cls):
        return {}
    zero, key = jnp.zeros(()), jax.ShapeDtypeStruct(key_shape, key_dtype)
    closed, made, _ = filter_make_jaxpr(fn)(zero, zero, zero, key)
    names = ({"weight"}, {"weight", "matrix"}, {"bias"}, {"key"})
    uses = dict(zip(map(id, closed.jaxpr.invars), names))
    for eqn in closed.jaxpr.eqns:
        used = set().union(*(uses.get(id(x), set()) for x in eqn.invars))
        uses.update((id(x), used) for x in eqn.outvars)
    arrays, _ = jtu.tree_flatten_with_path(made)
    outvars = closed.jaxpr.outvars
    return {p: (x, uses.get(id(y), set())) for (p, x), y in zip(arrays, outvars)}


_cached_trace = ft.lru_cache(_uncached_trace)


def _by_ndim(scale, matrix):
    """An initialiser of scales, which have fewer than two axes, and of matrices."""
    if scale is matrix or not callable(matrix):
        return matrix
    return lambda key, shape, dtype=float: draw(
        scale if len(shape) < 2 else matrix, key, shape, dtype, name="weight_init"
    )


def _nan(key, shape, dtype=float):
    return jnp.full(shape, jnp.nan if jnp.issubdtype(dtype, jnp.inexact) else 0, dtype)


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
