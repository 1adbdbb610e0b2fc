r"""Initialisers, for the `weight_init` and `bias_init` arguments of layers.

An initialiser is any function `init(key, shape, dtype)`, as in `jax.nn.initializers`.
Those here are values, which can be compared, hashed, printed and pickled. Their numbers
can be JAX arrays, to `vmap` over or to differentiate.

- `zeros`: zero throughout.
- `ones`: one throughout.
- `constant(value)`: one value throughout.
- `identity(scale)`: the identity matrix, at the centre of a convolution.
- `uniform(minval, maxval)`: uniform between two values.
- `normal(stddev)`: normal with mean zero.
- `truncated_normal(stddev, lower, upper)`: the same, cut off on both sides.
- `sparse(sparsity, stddev)`: normal, with part of each row set to zero.
- `fan_in_uniform()`: the distribution of the default weights of most layers.
- `variance_scaling(scale, mode, distribution)`: a variance of `scale / fan`.
- `glorot_uniform()`, `glorot_normal()`: variance scaling by the mean of both fans.
- `xavier_uniform()`, `xavier_normal()`: other names of these.
- `he_uniform()`, `he_normal()`: variance scaling for ReLU.
- `kaiming_uniform()`, `kaiming_normal()`: other names of these.
- `lecun_uniform()`, `lecun_normal()`: variance scaling for linear layers and SELU.
- `orthogonal(scale)`: an orthogonal matrix.
- `delta_orthogonal(scale)`: the same, at the centre of a convolution.
- `blocks(init, num_blocks)`: several matrices side by side, each drawn by `init`.
- `draw(init, key, shape, dtype)`: calls an initialiser, and checks what it returns.
- `calculate_gain(nonlinearity)`: the recommended gain for a nonlinearity.
- `Initializer`: the type of an initialiser.
"""

import math
from collections.abc import Callable
from typing import Any, get_args, Literal

import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import numpy as np
from jaxtyping import Array, ArrayLike

from .._module import field, Module
from ._initialise import blocks as blocks, draw as draw, Initializer as Initializer
from ._misc import default_init


class constant(Module):
    r"""Sets every element to a given value, $W = \text{value}$. As
    `jax.nn.initializers.constant`.

    `equinox.nn.init.zeros` is `constant(0)`, and `equinox.nn.init.ones` is
    `constant(1)`.

    !!! example

        ```python
        eqx.nn.Linear(64, 32, bias_init=eqx.nn.init.constant(0.1), key=key)
        ```

    !!! warning

        An array is in JAX's layout: `constant(W)` as the `weight_init` of a
        [`equinox.nn.Linear`][] sets `linear.weight` to `W.T`. To set a parameter to an
        array as it is, use [`equinox.tree_at`][].

    **Arguments:**

    - `value`: A number, or an array that broadcasts to the shape that is drawn.

    **Raises:**

    When called: a `TypeError` if `value` is complex and the dtype is not, and an
    `OverflowError` if it is an integer beyond the bounds of the dtype.
    """

    value: ArrayLike

    def __call__(self, key, shape, dtype=float) -> Array:
        # Unlike JAX's own conversion, this does not let integers overflow.
        return jinit.constant(jnp.asarray(self.value, dtype))(key, shape, dtype)


zeros = constant(0)
ones = constant(1)


class uniform(Module):
    r"""Draws from the uniform distribution on $[\text{minval}, \text{maxval})$. As
    `jax.random.uniform`.

    For a complex dtype, the real and imaginary parts are each drawn in this way.

    !!! example

        ```python
        init = eqx.nn.init.uniform(-0.1, 0.1)
        eqx.nn.Linear(64, 32, weight_init=init, key=key)
        ```

    **Arguments:**

    - `minval`: The lower end of the interval. (Inclusive.)
    - `maxval`: The upper end of the interval. (Exclusive.)

    Both ends must be given, as `jax.nn.initializers.uniform(scale)` draws from
    `[0, scale)`, which is rarely what is wanted of a weight.

    **Raises:**

    A `ValueError` if `minval > maxval`.
    """

    minval: ArrayLike
    maxval: ArrayLike

    def __check_init__(self):
        if _is_false(self.minval <= self.maxval):  # pyright: ignore
            raise ValueError(f"`minval` must be at most `maxval`. Got {self}.")

    def __call__(self, key, shape, dtype=float) -> Array:
        draw = lambda k, d: jrandom.uniform(k, shape, d, self.minval, self.maxval)
        return _draw_parts(draw, key, dtype)


class normal(Module):
    r"""Draws from the normal distribution $\mathcal{N}(0, \text{stddev}^2)$. As
    `jax.nn.initializers.normal`.

    For a complex dtype, the standard deviation is that of the complex number, and is
    shared equally by the real and imaginary parts.

    !!! example

        ```python
        init = eqx.nn.init.normal(0.02)
        eqx.nn.Embedding(1000, 64, weight_init=init, key=key)
        ```

    **Arguments:**

    - `stddev`: The standard deviation.
    """

    stddev: ArrayLike = 1e-2

    def __call__(self, key, shape, dtype=float) -> Array:
        return jinit.normal(self.stddev)(key, shape, dtype)


class truncated_normal(Module):
    r"""Draws from the normal distribution $\mathcal{N}(0, \text{stddev}^2)$, truncated
    to $[\text{lower} \cdot \text{stddev}, \text{upper} \cdot \text{stddev}]$. As
    `jax.nn.initializers.truncated_normal`.

    For a complex dtype, the real and imaginary parts are each drawn in this way, with
    `stddev` shared equally between them.

    The bounds are multiples of `stddev`. Those of `torch.nn.init.trunc_normal_` are
    values, so that its `std=0.02` with the default bounds of `-2` and `2` does not
    truncate at all: write [`equinox.nn.init.normal`][]`(0.02)`. (Wide bounds are no
    replacement. With them, JAX draws exactly the lower bound about once in `2**23`
    times.)

    !!! example

        ```python
        init = eqx.nn.init.truncated_normal(0.02)
        eqx.nn.Linear(64, 32, weight_init=init, key=key)
        ```

    **Arguments:**

    - `stddev`: The standard deviation before truncation. (At the default bounds, what
        is drawn has a standard deviation of about `0.88 * stddev`.)
    - `lower`: The lower bound, as a multiple of `stddev`.
    - `upper`: The upper bound, as a multiple of `stddev`.

    **Raises:**

    A `ValueError` if `lower > upper`.
    """

    stddev: ArrayLike = 1e-2
    lower: ArrayLike = -2.0
    upper: ArrayLike = 2.0

    def __check_init__(self):
        if _is_false(self.lower <= self.upper):  # pyright: ignore
            raise ValueError(f"`lower` must be at most `upper`. Got {self}.")

    def __call__(self, key, shape, dtype=float) -> Array:
        is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
        stddev = self.stddev / math.sqrt(2) if is_complex else self.stddev
        init = jinit.truncated_normal(stddev, lower=self.lower, upper=self.upper)
        return _draw_parts(lambda k, d: init(k, shape, d), key, dtype)


class fan_in_uniform(Module):
    r"""Draws from the uniform distribution on
    $\left[-1 / \sqrt{\text{fan_in}}, 1 / \sqrt{\text{fan_in}}\right)$.

    This is the distribution of the default weights of [`equinox.nn.Linear`][] and
    [`equinox.nn.Conv`][], as in PyTorch, and of [`equinox.nn.ConvTranspose`][]. For a
    complex dtype, the real and imaginary parts are each drawn in this way.

    !!! example

        ```python
        init = eqx.nn.init.fan_in_uniform()
        eqx.nn.Linear(64, 32, weight_init=init, key=key)
        ```

    **Raises:**

    When called: a `ValueError` if the shape has fewer than two dimensions.
    """

    def __call__(self, key, shape, dtype=float) -> Array:
        if len(shape) < 2:
            raise ValueError(f"`fan_in_uniform` needs at least two axes. Got {shape}.")
        return default_init(key, shape, dtype, 1 / math.sqrt(math.prod(shape[:-1])))


_Mode = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
_Distribution = Literal["truncated_normal", "normal", "uniform"]


class variance_scaling(Module):
    r"""Draws with mean zero and variance $\text{scale} / n$, where $n$ is a fan, i.e.
    the number of inputs or of outputs of a single neuron. As
    `jax.nn.initializers.variance_scaling`.

    The shape is read as `(*spatial, in, out)`, so that
    $\text{fan_in} = \text{in} \cdot \prod \text{spatial}$ and
    $\text{fan_out} = \text{out} \cdot \prod \text{spatial}$. For a complex dtype,
    `"uniform"` and `"truncated_normal"` draw from a disc.

    !!! example

        ```python
        init = eqx.nn.init.variance_scaling(2.0, "fan_out", "normal")
        eqx.nn.Conv2d(3, 64, 3, weight_init=init, key=key)
        ```

    These have names:

    | name | `scale` | `mode` | `distribution` |
    | --- | --- | --- | --- |
    | [`equinox.nn.init.glorot_uniform`][] | `1.0` | `"fan_avg"` | `"uniform"` |
    | [`equinox.nn.init.glorot_normal`][] | `1.0` | `"fan_avg"` | `"truncated_normal"` |
    | [`equinox.nn.init.he_uniform`][] | `2.0` | `"fan_in"` | `"uniform"` |
    | [`equinox.nn.init.he_normal`][] | `2.0` | `"fan_in"` | `"truncated_normal"` |
    | [`equinox.nn.init.lecun_uniform`][] | `1.0` | `"fan_in"` | `"uniform"` |
    | [`equinox.nn.init.lecun_normal`][] | `1.0` | `"fan_in"` | `"truncated_normal"` |

    !!! warning

        The rows of an [`equinox.nn.Embedding`][] are its inputs, so a `"fan_in"` scheme
        divides by the number of embeddings and makes each embedding tiny. Use
        [`equinox.nn.init.normal`][] there.

    **Arguments:**

    - `scale`: The factor by which to multiply the variance.
    - `mode`: What to divide the variance by. One of `"fan_in"`, `"fan_out"`,
        `"fan_avg"` (their arithmetic mean) or `"fan_geo_avg"` (their geometric mean,
        which older versions of JAX do not have).
    - `distribution`: One of `"truncated_normal"` (at two standard deviations, with the
        variance corrected for that), `"normal"` or `"uniform"`.

    **Raises:**

    A `ValueError` if `scale` is negative, or if `mode` or `distribution` is none of the
    above. When called: a `ValueError` if the shape has fewer than two dimensions.
    """

    scale: ArrayLike
    mode: _Mode = field(static=True)
    distribution: _Distribution = field(static=True)

    def __check_init__(self):
        if _is_false(self.scale >= 0):  # pyright: ignore
            raise ValueError(f"`scale` must not be negative. Got {self}.")
        if self.mode not in get_args(_Mode):
            raise ValueError(f"`mode` must be one of {get_args(_Mode)}. Got {self}.")
        if self.distribution not in get_args(_Distribution):
            names = get_args(_Distribution)
            raise ValueError(f"`distribution` must be one of {names}. Got {self}.")

    def __call__(self, key, shape, dtype=float) -> Array:
        init = jinit.variance_scaling(self.scale, self.mode, self.distribution)
        return init(key, shape, dtype)


def glorot_uniform() -> variance_scaling:
    r"""Draws from the uniform distribution on
    $\left[-\sqrt{6 / (\text{fan_in} + \text{fan_out})},
    \sqrt{6 / (\text{fan_in} + \text{fan_out})}\right)$.

    This is [`equinox.nn.init.variance_scaling`][] with
    `scale=1.0, mode="fan_avg", distribution="uniform"`. Also known as `xavier_uniform`.

    ??? cite

        [Understanding the difficulty of training deep feedforward neural networks](
        http://proceedings.mlr.press/v9/glorot10a.html)

    !!! example

        ```python
        init = eqx.nn.init.glorot_uniform()
        eqx.nn.MLP(2, 2, 64, 3, jnp.tanh, weight_init=init, key=key)
        ```
    """
    return variance_scaling(1.0, "fan_avg", "uniform")


def glorot_normal() -> variance_scaling:
    r"""Draws from the normal distribution, truncated at two standard deviations, such
    that what is drawn has standard deviation
    $\sqrt{2 / (\text{fan_in} + \text{fan_out})}$.

    This is [`equinox.nn.init.variance_scaling`][] with
    `scale=1.0, mode="fan_avg", distribution="truncated_normal"`. Also known as
    `xavier_normal`. See [`equinox.nn.init.glorot_uniform`][] for the reference.

    !!! example

        ```python
        init = eqx.nn.init.glorot_normal()
        eqx.nn.MLP(2, 2, 64, 3, jnp.tanh, weight_init=init, key=key)
        ```
    """
    return variance_scaling(1.0, "fan_avg", "truncated_normal")


def he_uniform() -> variance_scaling:
    r"""Draws from the uniform distribution on
    $\left[-\sqrt{6 / \text{fan_in}}, \sqrt{6 / \text{fan_in}}\right)$.

    This is [`equinox.nn.init.variance_scaling`][] with
    `scale=2.0, mode="fan_in", distribution="uniform"`. Also known as `kaiming_uniform`.
    It keeps the scale of activations through layers that are followed by a ReLU.

    ??? cite

        [Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet
        Classification](https://arxiv.org/abs/1502.01852)

    !!! example

        ```python
        init = eqx.nn.init.he_uniform()
        eqx.nn.MLP(2, 2, 64, 3, jax.nn.relu, weight_init=init, key=key)
        ```
    """
    return variance_scaling(2.0, "fan_in", "uniform")


def he_normal() -> variance_scaling:
    r"""Draws from the normal distribution, truncated at two standard deviations, such
    that what is drawn has standard deviation $\sqrt{2 / \text{fan_in}}$.

    This is [`equinox.nn.init.variance_scaling`][] with
    `scale=2.0, mode="fan_in", distribution="truncated_normal"`. Also known as
    `kaiming_normal`. See [`equinox.nn.init.he_uniform`][] for the reference.

    !!! example

        ```python
        init = eqx.nn.init.he_normal()
        eqx.nn.MLP(2, 2, 64, 3, jax.nn.relu, weight_init=init, key=key)
        ```
    """
    return variance_scaling(2.0, "fan_in", "truncated_normal")


def lecun_uniform() -> variance_scaling:
    r"""Draws from the uniform distribution on
    $\left[-\sqrt{3 / \text{fan_in}}, \sqrt{3 / \text{fan_in}}\right)$.

    This is [`equinox.nn.init.variance_scaling`][] with
    `scale=1.0, mode="fan_in", distribution="uniform"`. It keeps the scale of
    activations through linear layers, and through those that are followed by a SELU.

    ??? cite

        [Efficient BackProp](https://doi.org/10.1007/3-540-49430-8_2), and
        [Self-Normalizing Neural Networks](https://arxiv.org/abs/1706.02515)

    !!! example

        ```python
        init = eqx.nn.init.lecun_uniform()
        eqx.nn.MLP(2, 2, 64, 3, jax.nn.selu, weight_init=init, key=key)
        ```
    """
    return variance_scaling(1.0, "fan_in", "uniform")


def lecun_normal() -> variance_scaling:
    r"""Draws from the normal distribution, truncated at two standard deviations, such
    that what is drawn has standard deviation $\sqrt{1 / \text{fan_in}}$.

    This is [`equinox.nn.init.variance_scaling`][] with
    `scale=1.0, mode="fan_in", distribution="truncated_normal"`. See
    [`equinox.nn.init.lecun_uniform`][] for the references.

    !!! example

        ```python
        init = eqx.nn.init.lecun_normal()
        eqx.nn.MLP(2, 2, 64, 3, jax.nn.selu, weight_init=init, key=key)
        ```
    """
    return variance_scaling(1.0, "fan_in", "truncated_normal")


xavier_uniform = glorot_uniform
xavier_normal = glorot_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal


class orthogonal(Module):
    r"""Draws uniformly from the matrices with orthonormal rows or columns, whichever
    are fewer, and multiplies by `scale`. (For a complex dtype, from the
    semi-unitary matrices.) As `jax.nn.initializers.orthogonal`.

    So for a matrix $W$ with no fewer rows than columns,
    $W^\top W = \text{scale}^2 I$, and otherwise $W W^\top = \text{scale}^2 I$.

    The kernel of a convolution is drawn as a matrix of shape
    `(prod(spatial) * in, out)`.

    !!! example

        ```python
        init = {"hh": eqx.nn.init.orthogonal()}
        eqx.nn.GRUCell(64, 32, weight_init=init, key=key)
        ```

    ??? cite

        [Exact solutions to the nonlinear dynamics of learning in deep linear neural
        networks](https://arxiv.org/abs/1312.6120)

    **Arguments:**

    - `scale`: The factor by which to multiply the matrix; see also
        [`equinox.nn.init.calculate_gain`][].

    **Raises:**

    When called: a `ValueError` if the shape has fewer than two dimensions.
    """

    scale: ArrayLike = 1.0

    def __call__(self, key, shape, dtype=float) -> Array:
        return jinit.orthogonal(self.scale)(key, shape, dtype)


class delta_orthogonal(Module):
    r"""Draws the kernel of a convolution: as [`equinox.nn.init.orthogonal`][] at the
    central tap (index `(size - 1) // 2` of each spatial dimension), and zero elsewhere.
    As `jax.nn.initializers.delta_orthogonal`.

    So $W_\text{centre} W_\text{centre}^\top = \text{scale}^2 I$, and a convolution
    multiplies the length of its input by `scale`.

    !!! example

        ```python
        init = eqx.nn.init.delta_orthogonal()
        eqx.nn.Conv2d(16, 32, 3, weight_init=init, key=key)
        ```

    ??? cite

        [Dynamical Isometry and a Mean Field Theory of CNNs](
        https://arxiv.org/abs/1806.05393)

    **Arguments:**

    - `scale`: As [`equinox.nn.init.orthogonal`][].

    **Raises:**

    When called: a `ValueError` if the shape does not have one to three spatial
    dimensions, or has more inputs than outputs.
    """

    scale: ArrayLike = 1.0

    def __call__(self, key, shape, dtype=float) -> Array:
        return jinit.delta_orthogonal(self.scale)(key, shape, dtype)


class identity(Module):
    r"""Sets a weight to the identity matrix, $W_{ij} = \text{scale} \cdot \delta_{ij}$,
    with zeros for the extra rows or columns if it is not square. For a convolution:
    sets the kernel to the identity matrix at the central tap (index `(size - 1) // 2`
    of each spatial dimension), and to zero elsewhere, so that it passes its input
    through if `padding="SAME"`.

    As `torch.nn.init.eye_`, and for odd sizes as `torch.nn.init.dirac_`. (For an even
    size, no tap is central: a [`equinox.nn.ConvTranspose`][], or a dilation above one,
    then shifts its input.)

    !!! example

        ```python
        init = eqx.nn.init.identity()
        eqx.nn.Conv2d(16, 16, 3, padding="SAME", weight_init=init, key=key)
        ```

    **Arguments:**

    - `scale`: The value on the diagonal.

    **Raises:**

    When called: an error if the shape has fewer than two dimensions.
    """

    scale: ArrayLike = 1.0

    def __call__(self, key, shape, dtype=float) -> Array:
        centre = tuple((size - 1) // 2 for size in shape[:-2])
        eye = jnp.asarray(self.scale, dtype) * jnp.eye(*shape[-2:], dtype=dtype)
        return jnp.zeros(shape, dtype).at[centre].set(eye)


class sparse(Module):
    r"""Draws from the normal distribution $\mathcal{N}(0, \text{stddev}^2)$, and then
    sets $\lceil \text{sparsity} \cdot \text{out} \rceil$ of the outgoing connections of
    each input to zero, i.e. part of each row of a matrix of shape `(in, out)`. As
    `torch.nn.init.sparse_`, for the transposed matrix.

    For a convolution, this applies to each tap of the kernel.

    !!! example

        ```python
        # Ninety percent zeros.
        init = eqx.nn.init.sparse(0.9, stddev=0.1)
        eqx.nn.Linear(64, 100, weight_init=init, key=key)
        ```

    ??? cite

        [Deep learning via Hessian-free optimization](
        https://www.cs.toronto.edu/~jmartens/docs/Deep_HessianFree.pdf)

    **Arguments:**

    - `sparsity`: The fraction of each row to set to zero, between 0 and 1, which is
        rounded up to a whole number of elements. (The product is computed in floating
        point, as in PyTorch, so that 0.55 of 100 elements gives 56.)
    - `stddev`: The standard deviation of the other elements.

    **Raises:**

    A `ValueError` if `sparsity` is not between 0 and 1.
    """

    sparsity: ArrayLike
    stddev: ArrayLike = 1e-2

    def __check_init__(self):
        sparsity: Any = self.sparsity
        if _is_false(sparsity >= 0) or _is_false(sparsity <= 1):
            raise ValueError(f"`sparsity` must be between 0 and 1. Got {self}.")

    def __call__(self, key, shape, dtype=float) -> Array:
        value_key, order_key = jrandom.split(key, 2)
        values = jinit.normal(self.stddev)(value_key, shape, dtype)
        order = jnp.argsort(jrandom.uniform(order_key, shape), axis=-1)
        ceil = jnp.ceil if isinstance(self.sparsity, jax.Array) else math.ceil
        is_zero = order < jnp.asarray(ceil(self.sparsity * shape[-1]), order.dtype)
        return jnp.where(is_zero, jnp.zeros((), dtype), values)


_gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": 2**0.5, "selu": 3 / 4}
_gains |= {f"conv{t}{n}d": 1.0 for t in ("", "_transpose") for n in (1, 2, 3)}


def calculate_gain(nonlinearity: str | Callable, param: float | None = None) -> float:
    r"""The recommended gain for a nonlinearity, i.e. the factor by which to multiply
    the standard deviation $1 / \sqrt{\text{fan_in}}$ of a weight, or the `scale` of
    [`equinox.nn.init.orthogonal`][], so as to keep the scale of activations.

    Given a name, as `torch.nn.init.calculate_gain`:

    | `nonlinearity` | gain |
    | --- | --- |
    | `"linear"`, `"conv1d"`, `"conv2d"`, `"conv3d"`, `"conv_transpose1d"`, `"conv_transpose2d"`, `"conv_transpose3d"`, `"sigmoid"` | $1$ |
    | `"tanh"` | $5/3$ |
    | `"relu"` | $\sqrt{2}$ |
    | `"leaky_relu"` | $\sqrt{2 / (1 + \text{param}^2)}$ |
    | `"selu"` | $3/4$ |

    Given the nonlinearity $f$ itself, $1 / \sqrt{\mathbb{E}[f(z)^2]}$ for a standard
    normal $z$, by Gauss--Hermite quadrature. With this gain one layer keeps the second
    moment of what enters the nonlinearity: if that is standard normal, then what enters
    the next one has a second moment of one as well. The figures for ReLU are the same
    both ways. Those for `"tanh"` and `"selu"` have another meaning: that of
    `jax.numpy.tanh` is 1.59, and not $5/3$.

    !!! warning

        Networks with SELU keep the scale of activations by themselves: initialise these
        with [`equinox.nn.init.lecun_normal`][], i.e. with a gain of one (which is what
        `calculate_gain(jax.nn.selu)` returns), and not with `calculate_gain("selu")`.

    !!! example

        ```python
        gain = eqx.nn.init.calculate_gain(jax.nn.gelu)
        init = eqx.nn.init.variance_scaling(gain**2, "fan_in", "normal")
        mlp = eqx.nn.MLP(2, 2, 64, 8, jax.nn.gelu, weight_init=init, key=key)
        ```

    **Arguments:**

    - `nonlinearity`: One of the names above, or a function that acts on each element of
        a JAX array, such as `jax.nn.gelu`.
    - `param`: The negative slope of `"leaky_relu"`. Defaults to `0.01`. Not used
        otherwise.

    **Returns:**

    A Python `float`.

    **Raises:**

    A `ValueError` if `nonlinearity` is none of the names above, or is a function that
    does not act elementwise or whose second moment is zero or not finite.
    """  # noqa: E501
    if not callable(nonlinearity):
        slope = 0.01 if param is None else param
        gains = _gains | {"leaky_relu": math.sqrt(2 / (1 + slope**2))}
        if nonlinearity not in gains:
            names = ", ".join(map(repr, gains))
            raise ValueError(f"`nonlinearity` must be a function, or one of {names}.")
        return gains[nonlinearity]
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    with jax.ensure_compile_time_eval():
        fn = lambda x: np.abs(np.asarray(nonlinearity(jnp.asarray(x))))
        values, some_values = fn(nodes), fn(nodes[49::-1])
    second_moment = 0.0
    # If it acts elementwise, then the other elements and their order do not matter.
    if values.shape == (100,) and np.allclose(some_values, values[49::-1], rtol=1e-4):
        second_moment = weights @ values.astype(float) ** 2 / weights.sum()
    if not 0 < second_moment < math.inf:
        raise ValueError(f"`nonlinearity` must act elementwise. Got {nonlinearity!r}.")
    return 1 / math.sqrt(second_moment)


def _is_false(comparison) -> bool:
    """Whether a comparison of numbers fails. (That of arrays may not be known yet.)"""
    return isinstance(comparison, bool | np.bool_) and not comparison


def _draw_parts(draw, key, dtype) -> Array:
    """Draws the real and the imaginary part, if there is one."""
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        return draw(key, dtype)
    real_key, imag_key = jrandom.split(key, 2)
    real_dtype = jnp.finfo(dtype).dtype
    return jax.lax.complex(draw(real_key, real_dtype), draw(imag_key, real_dtype))


def __dir__() -> list[str]:
    modules = (__name__, draw.__module__)
    public = lambda name, x: name[0] != "_" and getattr(x, "__module__", "") in modules
    return [name for name, x in globals().items() if public(name, x)]
