import hashlib
import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import jax
import jax.core
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import jax.tree_util as jtu
import numpy as np
from jaxtyping import PRNGKeyArray

from .._eval_shape import cached_filter_eval_shape
from .._jit import _JitWrapper
from .._module import Module
from .._pretty_print import tree_pformat
from .._tree import tree_at
from ._batch_norm import BatchNorm
from ._conv import Conv, ConvTranspose
from ._embedding import Embedding
from ._initialise import Initializer, takes
from ._linear import Linear
from ._normalisation import GroupNorm, LayerNorm, RMSNorm
from ._rnn import GRUCell, LSTMCell
from ._shared import Shared, SharedNode
from ._weight_norm import WeightNorm


_T = TypeVar("_T")
_Init = Initializer | Mapping[str, Initializer | None] | None
_norms = (BatchNorm, GroupNorm, LayerNorm, RMSNorm)
# Every layer that draws parameters of its own.
_layers = (*_norms, Conv, ConvTranspose, Embedding, GRUCell, Linear, LSTMCell)
_arrays = (jax.Array, np.ndarray, jax.ShapeDtypeStruct)


def reinitialise(
    model: _T,
    *,
    weight_init: _Init = None,
    bias_init: _Init = None,
    select: Callable[[tuple, Module], bool] | None = None,
    key: PRNGKeyArray,
) -> _T:
    """Draws afresh the parameters of the layers in a model.

    !!! example

        ```python
        # Set all biases to zero.
        model = eqx.nn.reinitialise(model, bias_init=eqx.nn.init.zeros, key=key)

        # Draw all weights from another distribution. (But for the scale of
        # normalisation layers.)
        he_normal = eqx.nn.init.he_normal()
        model = eqx.nn.reinitialise(model, weight_init=he_normal, key=key)

        # Draw everything from its default distribution.
        model = eqx.nn.reinitialise(model, key=key)

        # Only some layers: those within `model.encoder`, or of some type.
        in_encoder = lambda path, layer: ".encoder" in jax.tree_util.keystr(path)
        model = eqx.nn.reinitialise(model, select=in_encoder, key=key)
        is_lstm = lambda path, layer: isinstance(layer, eqx.nn.LSTMCell)
        forget = {"forget": eqx.nn.init.ones}
        model = eqx.nn.reinitialise(model, bias_init=forget, select=is_lstm, key=key)
        ```

    The layers are [`equinox.nn.Linear`][], [`equinox.nn.Conv`][],
    [`equinox.nn.ConvTranspose`][] (and those for a fixed number of dimensions),
    [`equinox.nn.GRUCell`][], [`equinox.nn.LSTMCell`][], [`equinox.nn.Embedding`][],
    [`equinox.nn.LayerNorm`][], [`equinox.nn.RMSNorm`][], [`equinox.nn.GroupNorm`][] and
    [`equinox.nn.BatchNorm`][], and whatever is made of these. They are found anywhere
    in `model`, even if they are stacked by [`equinox.filter_vmap`][]. (Then each member
    of the stack is drawn separately.)

    Each layer is drawn as if it were made anew. The values depend only on `key` and on
    the path to the layer: they are the same whatever other layers there are, and
    whichever of these are selected.

    !!! warning

        The parameters of other modules are not drawn. It is an error if such a module
        has an array that is named `weight` or `bias`. So is a subclass of a layer that
        has an `__init__` method of its own, which may change what it drew, and a layer
        that is hidden in a callable that is not a PyTree, such as `jax.jit(layer)`. If
        `select` is given, then only the selected layers are drawn, without these
        checks.

        Arrays under any other name are left as they are, without an error. So is a
        layer that a function only refers to in its body, as it cannot be found.

    **Arguments:**

    - `model`: Any PyTree.
    - `weight_init`: The `weight_init` argument of each layer. If `None`, weights are
        left as they are. (But what a mapping leaves out is drawn by its default.)
    - `bias_init`: The `bias_init` argument of each layer. If `None`, biases are left as
        they are. If neither this nor `weight_init` is given, then all weights and
        biases are drawn as they are by default.
    - `select`: A function `select(path, layer)` that returns whether to draw a layer,
        which is one of those above, and so never an [`equinox.nn.MLP`][] itself. The
        `path` is that of `jax.tree_util.tree_flatten_with_path`. Defaults to all
        layers, except that `weight_init` is not used for the weights of normalisation
        layers.
    - `key`: A `jax.random.PRNGKey` used to draw the values. (Keyword only argument.)

    **Returns:**

    A copy of `model`, with the same structure, shapes and dtypes. (To keep its sharding
    as well, use `jax.jit` with `out_shardings`.) If the model was made by
    [`equinox.filter_eval_shape`][], then what is drawn becomes an array.

    The `g` of an [`equinox.nn.WeightNorm`][] is set to the norm of the new weight, as
    when it is made. (The state of an [`equinox.nn.SpectralNorm`][] is not part of the
    model.) Nodes that are tied by [`equinox.nn.Shared`][] remain so.

    **Raises:**

    A `ValueError` if no layer that is found and selected has such a parameter, if a
    parameter does not have the shape that its layer made it with, or in the cases
    above. A `TypeError` if an argument is of the wrong type. Exceptions that are raised
    by an initialiser pass through, with a note that names the layer.
    """
    inits = dict(weight=weight_init, bias=bias_init)
    kinds = tuple(k for k in inits if inits[k] is not None) or ("weight", "bias")
    if select is not None and not takes(select, "path", "layer"):
        raise TypeError(f"`select` must be a function of path and layer. Got {select}.")
    found, drawn, unknown, count = [], [], [], Counter()

    def visit(path: tuple, node: Any) -> Any:
        is_below = lambda x: x is not node and (isinstance(x, Module) or callable(x))
        pairs, treedef = jtu.tree_flatten_with_path(node, is_leaf=is_below)
        num_drawn = len(drawn)
        leaves = [visit(path + p, x) if is_below(x) else x for p, x in pairs]
        new = jtu.tree_unflatten(treedef, leaves)
        attributes = getattr(node, "__dict__", {})
        where = jtu.keystr(path)
        name = f"the `{type(node).__name__}` at `{where or '(the model itself)'}`"
        if isinstance(node, _layers):
            # Paths may print alike, or print an address, which differs between runs.
            where = re.sub(" at 0x[0-9A-Fa-f]+", "", where)
            count[where] += 1
            digest = hashlib.sha256(f"{where} {count[where]}".encode()).digest()
            layer_key = _fold_in(key, np.frombuffer(digest, np.uint32)[:2])
            found.append(name)
            if select is None or select(path, node):
                new = visit_layer(name, new, layer_key)
        elif isinstance(node, WeightNorm):
            weight = getattr(new.layer, new.weight_name)
            if weight is not getattr(node.layer, node.weight_name):
                new = _renorm(new, weight)
        elif isinstance(node, Shared):
            if "weight" in kinds and len(drawn) > num_drawn:
                new = _renorm_tied(node, new)
        elif _hides_layer(node):
            unknown.append(f"{name} (which hides a layer)")
        elif any(isinstance(attributes.get(kind), _arrays) for kind in kinds):
            unknown.append(name)
        return new

    def visit_layer(name: str, layer: Any, layer_key: PRNGKeyArray) -> Any:
        bases = [c for c in type(layer).__mro__ if issubclass(c, _layers)]
        cls = next(c for c in bases if c.__module__.startswith("equinox."))
        own_kinds, own_inits = kinds, inits
        if isinstance(layer, _norms) and weight_init is not None and select is None:
            # The scale of a norm does not count as a weight. If there is none as yet,
            # then it is drawn by its default.
            own_inits = inits | dict(weight=None)
            if not isinstance(layer.weight, jax.ShapeDtypeStruct):
                own_kinds = kinds[1:]
        fields = [x for x in cls.__dataclass_fields__ if x.startswith(own_kinds)]
        old = {x: getattr(layer, x) for x in fields}
        old = {k: x for k, x in old.items() if not isinstance(x, SharedNode | None)}
        if len(old) == 0:
            return layer
        # Unwrapped, since a type checker may have wrapped them.
        inits_of = [inspect.unwrap(x.__init__) for x in (type(layer), cls)]
        if select is None and inits_of[0] is not inits_of[1]:
            unknown.append(f"{name} (a subclass with its own `__init__`)")
            return layer
        try:
            new = _draw(cls, layer, old, own_inits, layer_key)
        except Exception as e:
            note = f"This was to draw {name}. To leave it out, use `select`."
            if hasattr(e, "add_note"):
                e.add_note(note)  # pyright: ignore
            else:  # Python 3.10
                e.args = (f"{e}\n{note}",)
            raise
        drawn.append(name)
        get = lambda layer: [getattr(layer, x) for x in new]
        return tree_at(get, layer, list(new.values()))

    new_model = visit((), model)
    if unknown and select is None:
        hint = "Use `select` to choose layers; then all else is left as it is."
        raise ValueError(f"Cannot reinitialise {', '.join(unknown)}. {hint}")
    if not drawn:
        what = f"no layer that is selected has a {' or '.join(kinds)}"
        hint = "(The weight of a norm is its scale, and must be selected.)"
        names = ", ".join(found[:9] + ["..."] * (len(found) > 9)) or "none"
        raise ValueError(f"Nothing to draw: {what}. {hint} The layers are: {names}.")
    return new_model


def _draw(cls, layer, old, inits, key) -> dict[str, Any]:
    """New values for some parameters of a layer, given the old ones.

    What a layer knows of its parameters is in its `__init__`. So call that again.
    """
    arguments = inspect.signature(cls.__init__).parameters
    names = [x for x in arguments if not x.startswith(("weight", "bias"))]
    kwargs = {x: getattr(layer, x) for x in names if x in cls.__dataclass_fields__}
    # Else the numbers of NumPy would be traced.
    as_number = lambda x: x.item() if isinstance(x, np.generic) else x
    kwargs = jtu.tree_map(as_number, kwargs)
    # Cheap to make, for what is not asked for.
    zeros = {f"{k}_init": jinit.zeros for k in inits if f"{k}_init" in arguments}
    structs = cached_filter_eval_shape(cls, **kwargs, **zeros, key=key)
    # Of one dtype each; and of one number of further axes, if the layer is stacked.
    groups = {}
    for name, value in old.items():
        shape: Any = getattr(value, "shape", None)
        made: Any = getattr(getattr(structs, name), "shape", None)
        is_array = isinstance(value, _arrays) and made is not None
        if not is_array or shape[len(shape) - len(made) :] != made:
            was = f"but the layer was made with shape {made}"
            raise ValueError(f"`{name}` is {tree_pformat(value)}, {was}.")
        batch = shape[: len(shape) - len(made)]
        # In 32-bit mode, NumPy has dtypes that JAX has not.
        dtype = jax.dtypes.canonicalize_dtype(value.dtype)
        groups.setdefault((dtype, batch), []).append(name)
    new = {}
    for (dtype, batch), names in groups.items():
        given = {k: x for k, x in inits.items() if any(n.startswith(k) for n in names)}
        given = zeros | {f"{k}_init": init for k, init in given.items()}

        def make(key):
            made = cls(**kwargs, **given, dtype=dtype, key=key)
            return {name: getattr(made, name) for name in names}

        for _ in batch:
            make = jax.vmap(make)
        new |= make(jrandom.split(key, batch) if batch else key)
    for name, value in new.items():
        if value.dtype != old[name].dtype and not isinstance(value, jax.core.Tracer):
            new[name] = np.asarray(value, old[name].dtype)
    return new


@jax.jit
def _fold_in(key, words) -> PRNGKeyArray:
    return jrandom.fold_in(jrandom.fold_in(key, words[0]), words[1])


def _renorm(node, weight) -> WeightNorm:
    """As `node` is made of a layer with this weight."""
    if not isinstance(node.g, _arrays):
        return node
    # Also if it is stacked: there are as many members in the weight.
    axes = tuple(i for i, size in enumerate(node.g.shape) if size == 1)
    norm = lambda x: jnp.sqrt(jnp.sum(jnp.abs(x) ** 2, axes, keepdims=True))
    g = norm(weight) if isinstance(weight, _arrays) else None
    if g is None or g.shape != node.g.shape:
        what = "the weight of a `WeightNorm` is tied in a way that cannot be followed"
        raise ValueError(f"Cannot reinitialise: {what}. Use `select` to leave it out.")
    return tree_at(lambda x: x.g, node, g.astype(node.g.dtype))


def _renorm_tied(old, new) -> Shared:
    """Does the same where a new weight is tied, and so only known to `Shared`."""
    weight_of = lambda node: getattr(node.layer, node.weight_name)
    is_tied = lambda node: (
        isinstance(node, WeightNorm) and isinstance(weight_of(node), SharedNode)
    )
    # Else not called, as it may not be possible while arrays are abstract.
    if not any(map(is_tied, jtu.tree_leaves(new.pytree, is_leaf=is_tied))):
        return new

    def renorm(tied, x, y):
        is_new = is_tied(tied) and weight_of(x) is not weight_of(y)
        return _renorm(tied, weight_of(x)) if is_new else tied

    pytree = jtu.tree_map(renorm, new.pytree, new(), old(), is_leaf=is_tied)
    return tree_at(lambda x: x.pytree, new, pytree)


def _hides_layer(x, depth=5) -> bool:
    """Whether a callable holds a layer that is not part of it as a PyTree."""
    if depth == 0 or (isinstance(x, Module) and not isinstance(x, _JitWrapper)):
        return False
    names = ["func", "__wrapped__", "__self__"]
    names += ["args", "keywords"] if type(x) is partial else []
    is_layer = lambda y: isinstance(y, _layers)
    leaves = jtu.tree_leaves([getattr(x, n, None) for n in names], is_leaf=is_layer)
    hides = lambda y: is_layer(y) or (callable(y) and _hides_layer(y, depth - 1))
    return any(map(hides, leaves))
