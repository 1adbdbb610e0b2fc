"""Random combinations of layer, initialiser, dtype, sizes, kind of key and transform.

The examples are the same in each run. With `EXAMPLES=10` in the environment, there are
ten times as many, and they are others in each run.
"""

import contextlib
import math
import os

import equinox as eqx
import hypothesis
import hypothesis.strategies as st
import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import jax.tree_util as jtu
import numpy as np
from test_matrix import enable_x64, INITIALISERS


init = eqx.nn.init
sizes = st.integers(0, 5)
positive = st.integers(1, 5)


@st.composite
def layers(draw):
    """A function that makes a layer of some kind and size."""
    return draw(st.sampled_from(KINDS))(draw)


def linear(draw):
    in_, out, use_bias = draw(sizes), draw(sizes), draw(st.booleans())
    hypothesis.assume(in_ > 0)  # Of no inputs, upstream has no default.
    return lambda **kw: eqx.nn.Linear(in_, out, use_bias, **kw)


def conv(draw):
    cls = draw(st.sampled_from([eqx.nn.Conv, eqx.nn.ConvTranspose]))
    num_dims, groups = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    in_, out = groups * draw(positive), groups * draw(positive)
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(num_dims))
    use_bias = draw(st.booleans())
    return lambda **kw: cls(
        num_dims, in_, out, kernel, groups=groups, use_bias=use_bias, **kw
    )


def cell(draw):
    cls = draw(st.sampled_from([eqx.nn.GRUCell, eqx.nn.LSTMCell]))
    in_, hidden, use_bias = draw(sizes), draw(positive), draw(st.booleans())
    return lambda **kw: cls(in_, hidden, use_bias, **kw)


def embedding(draw):
    num, size = draw(positive), draw(positive)

    def make(*, bias_init, **kw):
        return eqx.nn.Embedding(num, size, **kw)

    return make


def norm(draw):
    shape, use_bias = tuple(draw(st.lists(positive, max_size=2))), draw(st.booleans())
    cls = draw(st.sampled_from([eqx.nn.LayerNorm, eqx.nn.RMSNorm]))
    return lambda **kw: cls(shape, use_bias=use_bias, **kw)


def mlp(draw):
    in_, out, width = draw(positive), draw(positive), draw(positive)
    depth, scan = draw(st.integers(0, 3)), draw(st.booleans())
    return lambda **kw: eqx.nn.MLP(in_, out, width, depth, scan=scan, **kw)


def attention(draw):
    heads, size = draw(st.integers(1, 3)), draw(positive)
    use_bias = draw(st.booleans())
    return lambda **kw: eqx.nn.MultiheadAttention(
        heads, heads * size, use_output_bias=use_bias, use_key_bias=use_bias, **kw
    )


KINDS = [linear, conv, cell, embedding, norm, mlp, attention]


def by_fan_in(key, shape, dtype):
    return jrandom.normal(key, shape, dtype) / math.sqrt(max(1, math.prod(shape[:-1])))


weight_inits = st.sampled_from(
    [
        None,
        *INITIALISERS,
        jinit.he_normal(),
        jinit.glorot_uniform(),
        jinit.orthogonal(),
        jinit.normal(0.1),
        by_fan_in,
        lambda key, shape, dtype: np.ones(shape),
    ]
)
bias_inits = st.sampled_from(
    [None, init.zeros, init.normal(), jinit.uniform(), lambda k, s, d: jnp.ones(s, d)]
)
dtypes = st.sampled_from(
    [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64, jnp.complex64]
)
keys = st.sampled_from([jrandom.PRNGKey(0), jrandom.key(0), jrandom.key(0, impl="rbg")])


def settings(num):
    factor = int(os.environ.get("EXAMPLES", 0))
    return hypothesis.settings(
        max_examples=num * max(1, factor),
        derandomize=factor == 0,
        deadline=None,
        database=None,
    )


# What the layers and our initialisers raise. JAX's also divide by a zero fan. And what
# JAX, NumPy and Equinox warn of: `constant(None)` in old versions, `constant(1e39)` in
# float32, and an array as the mode of `variance_scaling`.
DOCUMENTED = (TypeError, ValueError, ZeroDivisionError, FutureWarning, RuntimeWarning)
DOCUMENTED += (UserWarning,)


def attempt(fn, *args):
    """What `fn` returns, or what kind of error it raises."""
    try:
        return jtu.tree_map(np.asarray, fn(*args))
    except DOCUMENTED as e:
        return type(e)


def raises(make, inits, dtype, key):
    """Whether an initialiser raises an error for any shape that the layer asks for."""
    asked = []

    def probe(init):
        def draw(key, shape, dtype):
            asked.append((init, shape, dtype))
            return jnp.zeros(shape, dtype)

        return None if init is None else draw

    make(**{name: probe(x) for name, x in inits.items()}, dtype=dtype, key=key)
    return any(
        isinstance(attempt(eqx.nn.init.draw, init, key, shape, dtype), type)
        for init, shape, dtype in asked
    )


def wide(x):
    return x.astype(np.complex128)


def assert_close(x, y, dtype):
    # Compiled, a product and a sum may be fused, and round differently.
    tol = 1e-2 if jnp.finfo(dtype).bits == 16 else 2e-5
    close = lambda a, b: np.testing.assert_allclose(wide(a), wide(b), tol, tol)
    jtu.tree_map(close, x, y)


@settings(60)
@hypothesis.given(layers(), weight_inits, bias_inits, dtypes, keys)
def test_layers(make, weight_init, bias_init, dtype, key):
    inits = dict(weight_init=weight_init, bias_init=bias_init)

    def build(key, **kwargs):
        layer = make(**(inits | kwargs), dtype=dtype, key=key)
        return eqx.filter(layer, eqx.is_array)

    with enable_x64(True) if dtype == jnp.float64 else contextlib.nullcontext():
        eager = attempt(build, key)
        compiled = attempt(jax.jit(build), key)
        assert isinstance(eager, type) == raises(make, inits, dtype, key)
        if isinstance(eager, type):
            hypothesis.event(f"raises {eager.__name__}")
            assert compiled is eager
            return
        # The structure, shapes and dtypes are those of the default layer.
        default = jax.eval_shape(
            lambda key: build(key, weight_init=None, bias_init=None), key
        )
        of = lambda tree: jtu.tree_map(lambda x: (x.shape, jnp.dtype(x.dtype)), tree)
        assert jtu.tree_structure(eager) == jtu.tree_structure(default)
        assert jtu.tree_leaves(of(eager)) == jtu.tree_leaves(of(default))
        assert all(np.isfinite(wide(x)).all() for x in jtu.tree_leaves(eager))
        again = attempt(build, key)
        same = lambda a, b: np.testing.assert_array_equal(wide(a), wide(b))
        jtu.tree_map(same, eager, again)
        assert_close(eager, compiled, dtype)
        if "rbg" not in str(key.dtype):  # Under `vmap`, JAX draws others by these.
            keys = jrandom.split(key, 2)
            stacked = attempt(jax.vmap(build), keys)
            for i in range(2):
                member = jtu.tree_map(lambda x: x[i], stacked)
                assert_close(member, attempt(build, keys[i]), dtype)


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(
        [
            init,
            init.he_normal,
            init.calculate_gain,
            init.variance_scaling,
            jinit.he_normal,
            jinit.he_normal(),
            jnp.zeros,
            np.zeros,
            np.ones(3),
            jnp.ones((3, 3)),
            jrandom.normal,
            jrandom.PRNGKey(0),
            dict,
            len,
            lambda: None,
            lambda key, shape, dtype: None,
            lambda key, shape, dtype: np.ones(2),
            lambda key, shape, dtype: "weight",
            lambda key, shape, dtype: jnp.ones(shape, jnp.complex64),
            lambda *args: args,
            lambda **kwargs: kwargs,
        ]
    ),
)
collections = st.recursive(
    anything,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["ih", "forget", "query", "x", 1]), inner),
    ),
    max_leaves=4,
)


def parts(x):
    if isinstance(x, list | dict):
        return [y for z in (x.values() if isinstance(x, dict) else x) for y in parts(z)]
    return [x]


@settings(300)
@hypothesis.given(layers(), collections, collections)
def test_wrong_arguments(make, weight_init, bias_init):
    layer = attempt(
        lambda: eqx.filter(
            make(weight_init=weight_init, bias_init=bias_init, key=jrandom.PRNGKey(0)),
            eqx.is_array,
        )
    )
    if layer is ZeroDivisionError:
        assert "initializers" in repr(weight_init)
    if not isinstance(layer, type):
        paths = [jtu.keystr(path) for path, _ in jtu.tree_leaves_with_path(layer)]
        has = lambda name: any(name in path for path in paths)
        given = [weight_init] if has("weight") else []
        # Nothing is said of a bias that is not there.
        if has("bias") and not isinstance(bias_init, dict):
            given.append(bias_init)
        assert all(x is None or callable(x) for x in parts(given))
    hypothesis.event("accepted" if not isinstance(layer, type) else layer.__name__)


numbers = st.one_of(anything, st.floats(-3, 3), st.just(jnp.float32(0.5)))


@settings(300)
@hypothesis.given(
    st.sampled_from(
        [
            init.constant,
            init.uniform,
            init.normal,
            init.truncated_normal,
            init.variance_scaling,
            init.orthogonal,
            init.delta_orthogonal,
            init.identity,
            init.sparse,
            init.calculate_gain,
        ]
    ),
    st.lists(numbers, max_size=3),
)
def test_wrong_numbers(scheme, arguments):
    made = attempt(lambda: (scheme(*arguments),) and ())
    if made == () and scheme is not init.calculate_gain:
        draw = lambda: scheme(*arguments)(jrandom.PRNGKey(0), (3, 3, 3), jnp.float32)
        out = attempt(draw)
        if not isinstance(out, type):
            assert out.shape == (3, 3, 3) and out.dtype == jnp.float32
