import abc
import math
import sys
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any, get_args, Literal

import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import numpy as np
from jaxtyping import Array, ArrayLike

from ..._misc import default_floating_dtype
from ..._module import field, Module
from .._initialise import at_least_32_bits, keeps_kind
from .._misc import default_init


class AbstractInitialiser(Module):
    """Base of the initialisers here: each consists of numbers, and draws by them."""

    def __call__(self, key: Any = None, shape: Any = None, dtype: Any = None) -> Array:
        """**Arguments:**

        - `key`: A `jax.random.PRNGKey` used to draw the values.
        - `shape`: The shape to draw. That of a weight is `(*spatial, in, out)`.
        - `dtype`: The dtype to draw. Defaults to either `jax.numpy.float32` or
            `jax.numpy.float64` depending on whether JAX is in 64-bit mode.

        **Returns:**

        A JAX array of shape `shape` and dtype `dtype`.
        """
        if not isinstance(shape, Iterable):
            hint = f"(`{self}` is an initialiser: give it to a layer as it is.)"
            raise TypeError(f"`shape` must be a tuple. Got {shape!r}. {hint}")
        shape = tuple(shape)
        for value in vars(self).values():
            fits = [m in (1, n) for m, n in zip(np.shape(value)[::-1], shape[::-1])]
            if not all(fits) or len(fits) < np.ndim(value):
                hint = "To try several values, use `equinox.filter_vmap`."
                raise ValueError(f"`{self}` does not broadcast to {shape}. {hint}")
        dtype = default_floating_dtype() if dtype is None else dtype
        return jnp.zeros(shape, dtype) if 0 in shape else self._draw(key, shape, dtype)

    @abc.abstractmethod
    def _draw(self, key, shape, dtype) -> Array: ...

    def __hash__(self) -> int:
        # Unlike that of `Module`, also for arrays.
        return hash((type(self), *map(np.shape, vars(self).values())))


class constant(AbstractInitialiser):
    """Sets every element to a given value. As `jax.nn.initializers.constant`.

    `equinox.nn.init.zeros` is `constant(0)`, which sets every element to zero.
    `equinox.nn.init.ones` is `constant(1)`, which sets every element to one.

    !!! example

        ```python
        eqx.nn.Linear(64, 32, bias_init=eqx.nn.init.constant(0.1), key=key)
        ```
    """

    value: int | float | complex | Array

    def __init__(self, value: ArrayLike):
        """**Arguments:**

        - `value`: A number, or an array that broadcasts to the shape that is drawn.

        **Raises:**

        Whatever JAX raises if `value` is not a number or an array. When used: a
        `TypeError` if it cannot be cast to the dtype that is drawn (complex to real, or
        floating point to integer), an `OverflowError` if it is an integer beyond the
        bounds of that dtype, and a `ValueError` if it does not broadcast to the shape.
        """
        value = value.item() if isinstance(value, np.generic) else value
        is_number = isinstance(value, int | float | complex)
        self.value = value if is_number else jnp.asarray(value)

    def _draw(self, key, shape, dtype) -> Array:
        if not keeps_kind(jnp.result_type(self.value), dtype):
            raise TypeError(f"`{self}` cannot be drawn as {jnp.dtype(dtype)}.")
        # Unlike that of JAX, does not let integers overflow.
        return jinit.constant(jnp.asarray(self.value, dtype))(key, shape, dtype)


zeros = constant(0)
ones = constant(1)


class uniform(AbstractInitialiser):
    r"""Draws from the uniform distribution on $[\text{minval}, \text{maxval})$. As
    `jax.random.uniform`.

    For a complex dtype, the real and imaginary parts are each drawn in this way.

    !!! example

        ```python
        init = eqx.nn.init.uniform(-0.1, 0.1)
        eqx.nn.Linear(64, 32, weight_init=init, key=key)
        ```
    """

    minval: float | Array
    maxval: float | Array

    def __init__(self, minval: ArrayLike, maxval: ArrayLike):
        """**Arguments:**

        - `minval`: The lower end of the interval. (Inclusive.)
        - `maxval`: The upper end of the interval. (Exclusive.)

        Both ends must be given, as `jax.nn.initializers.uniform(scale)` draws from
        `[0, scale)`, which is rarely what is wanted of a weight.

        **Raises:**

        A `TypeError` if either is not a real number, and a `ValueError` if it is not
        finite, or if `minval > maxval`.
        """
        self.minval = _real("minval", minval)
        self.maxval = _real("maxval", maxval, low=self.minval)

    def _draw(self, key, shape, dtype) -> Array:
        draw = lambda k, d: jrandom.uniform(k, shape, d, self.minval, self.maxval)
        return _draw_parts(draw, key, dtype)


class normal(AbstractInitialiser):
    r"""Draws from the normal distribution $\mathcal{N}(0, \text{stddev}^2)$. As
    `jax.nn.initializers.normal`.

    For a complex dtype, the standard deviation is that of the complex number, and is
    shared equally by the real and imaginary parts.

    !!! example

        ```python
        init = eqx.nn.init.normal(0.02)
        eqx.nn.Embedding(1000, 64, weight_init=init, key=key)
        ```
    """

    stddev: float | Array

    def __init__(self, stddev: ArrayLike = 1e-2):
        """**Arguments:**

        - `stddev`: The standard deviation.

        **Raises:**

        A `TypeError` if `stddev` is not a real number, and a `ValueError` if it is
        negative or not finite.
        """
        self.stddev = _real("stddev", stddev, low=0.0)

    def _draw(self, key, shape, dtype) -> Array:
        return jinit.normal(self.stddev)(key, shape, dtype)


class truncated_normal(AbstractInitialiser):
    r"""Draws from the normal distribution $\mathcal{N}(0, \text{stddev}^2)$, truncated
    to $[\text{lower} \cdot \text{stddev}, \text{upper} \cdot \text{stddev}]$. As
    `jax.nn.initializers.truncated_normal`.

    For a complex dtype, the real and imaginary parts are each drawn in this way, with
    `stddev` shared equally between them.

    The bounds are multiples of `stddev`. Those of `torch.nn.init.trunc_normal_` are
    not: its `std=0.02, a=-2.0, b=2.0` is `stddev=0.02, lower=-100.0, upper=100.0` here.

    !!! example

        ```python
        init = eqx.nn.init.truncated_normal(0.02)
        eqx.nn.Linear(64, 32, weight_init=init, key=key)
        ```
    """

    stddev: float | Array
    lower: float | Array
    upper: float | Array

    def __init__(
        self, stddev: ArrayLike = 1e-2, lower: ArrayLike = -2.0, upper: ArrayLike = 2.0
    ):
        """**Arguments:**

        - `stddev`: The standard deviation before truncation. (At the default bounds,
            what is drawn has a standard deviation of about `0.88 * stddev`.)
        - `lower`: The lower bound, as a multiple of `stddev`.
        - `upper`: The upper bound, as a multiple of `stddev`.

        **Raises:**

        A `TypeError` if any of these is not a real number. A `ValueError` if any is not
        finite, if `stddev` is negative, or if `lower > upper`.
        """
        self.stddev = _real("stddev", stddev, low=0.0)
        self.lower = _real("lower", lower)
        self.upper = _real("upper", upper, low=self.lower)

    def _draw(self, key, shape, dtype) -> Array:
        is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
        stddev = self.stddev / math.sqrt(2) if is_complex else self.stddev
        init = jinit.truncated_normal(stddev, lower=self.lower, upper=self.upper)
        return _draw_parts(lambda k, d: init(k, shape, d), key, dtype)


class fan_in_uniform(AbstractInitialiser):
    r"""Draws from the uniform distribution on
    $\left[-1 / \sqrt{\text{fan_in}}, 1 / \sqrt{\text{fan_in}}\right)$.

    This is the distribution of the default weights of [`equinox.nn.Linear`][] and
    [`equinox.nn.Conv`][], as in PyTorch, and of [`equinox.nn.ConvTranspose`][]. For a
    complex dtype, the real and imaginary parts are each drawn in this way.

    A shape of fewer than two dimensions raises a `ValueError`.

    !!! example

        ```python
        init = eqx.nn.init.fan_in_uniform()
        eqx.nn.Linear(64, 32, weight_init=init, key=key)
        ```
    """

    def _draw(self, key, shape, dtype) -> Array:
        _check_is_weight(self, shape)
        return default_init(key, shape, dtype, 1 / math.sqrt(math.prod(shape[:-1])))


_Mode = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
_Distribution = Literal["truncated_normal", "normal", "uniform"]


class variance_scaling(AbstractInitialiser):
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
    """

    scale: float | Array
    mode: _Mode = field(static=True)
    distribution: _Distribution = field(static=True)

    def __init__(self, scale: ArrayLike, mode: _Mode, distribution: _Distribution):
        """**Arguments:**

        - `scale`: The factor by which to multiply the variance.
        - `mode`: What to divide the variance by. One of `"fan_in"`, `"fan_out"`,
            `"fan_avg"` (their arithmetic mean) or `"fan_geo_avg"` (their geometric
            mean, which older versions of JAX do not have).
        - `distribution`: One of `"truncated_normal"` (at two standard deviations,
            with the variance corrected for that), `"normal"` or `"uniform"`.

        **Raises:**

        A `TypeError` if `scale` is not a real number. A `ValueError` if it is negative
        or not finite, or if `mode` or `distribution` is none of the above. When used: a
        `ValueError` if the shape has fewer than two dimensions.
        """
        self.scale = _real("scale", scale, low=0.0)
        self.mode = _one_of("mode", mode, _Mode)
        self.distribution = _one_of("distribution", distribution, _Distribution)

    def _draw(self, key, shape, dtype) -> Array:
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


xavier_uniform, xavier_normal = glorot_uniform, glorot_normal
kaiming_uniform, kaiming_normal = he_uniform, he_normal


class orthogonal(AbstractInitialiser):
    r"""Draws uniformly from the matrices with orthonormal rows or columns, whichever
    are fewer, and multiplies by `scale`. (For a complex dtype, from the
    semi-unitary matrices.) As `jax.nn.initializers.orthogonal`.

    So for a matrix $W$ with no fewer rows than columns,
    $W^\top W = \text{scale}^2 I$, and otherwise $W W^\top = \text{scale}^2 I$.

    The kernel of a convolution is drawn as a matrix of shape
    `(prod(spatial) * in, out)`. For 16-bit dtypes, which JAX does not support here, the
    matrix is computed in `jax.numpy.float32`.

    !!! example

        ```python
        init = {"hh": eqx.nn.init.orthogonal()}
        eqx.nn.GRUCell(64, 32, weight_init=init, key=key)
        ```

    ??? cite

        [Exact solutions to the nonlinear dynamics of learning in deep linear neural
        networks](https://arxiv.org/abs/1312.6120)
    """

    scale: float | Array

    def __init__(self, scale: ArrayLike = 1.0):
        """**Arguments:**

        - `scale`: The factor by which to multiply the matrix; see also
            [`equinox.nn.init.calculate_gain`][].

        **Raises:**

        A `TypeError` if `scale` is not a real number, and a `ValueError` if it is not
        finite. When used: a `ValueError` if the shape has fewer than two dimensions.
        """
        self.scale = _real("scale", scale)

    def _draw(self, key, shape, dtype) -> Array:
        wide_dtype = at_least_32_bits(dtype)  # JAX has no QR decomposition of fewer.
        return jinit.orthogonal(self.scale)(key, shape, wide_dtype).astype(dtype)


class delta_orthogonal(AbstractInitialiser):
    """Draws the kernel of a convolution: as [`equinox.nn.init.orthogonal`][] at the
    central tap (index `(size - 1) // 2` of each spatial dimension), and zero elsewhere.
    As `jax.nn.initializers.delta_orthogonal`.

    !!! example

        ```python
        init = eqx.nn.init.delta_orthogonal()
        eqx.nn.Conv2d(16, 32, 3, weight_init=init, key=key)
        ```

    ??? cite

        [Dynamical Isometry and a Mean Field Theory of CNNs](
        https://arxiv.org/abs/1806.05393)
    """

    scale: float | Array

    def __init__(self, scale: ArrayLike = 1.0):
        """**Arguments:**

        - `scale`: As [`equinox.nn.init.orthogonal`][].

        **Raises:**

        As [`equinox.nn.init.orthogonal`][]. When used: a `ValueError` if the shape does
        not have one to three spatial dimensions, or has more inputs than outputs.
        """
        self.scale = _real("scale", scale)

    def _draw(self, key, shape, dtype) -> Array:
        wide_dtype = at_least_32_bits(dtype)
        return jinit.delta_orthogonal(self.scale)(key, shape, wide_dtype).astype(dtype)


class identity(AbstractInitialiser):
    """Sets a weight to the identity matrix, with zeros for the extra rows or columns if
    it is not square. For a convolution: sets the kernel to the identity matrix at the
    central tap (index `(size - 1) // 2` of each spatial dimension), and to zero
    elsewhere, so that it passes its input through if `padding="SAME"`.

    As `torch.nn.init.eye_`, and for odd sizes as `torch.nn.init.dirac_`. (For an even
    size with a dilation above one, no tap is central, and no kernel passes its input
    through.)

    !!! example

        ```python
        init = eqx.nn.init.identity()
        eqx.nn.Conv2d(16, 16, 3, padding="SAME", weight_init=init, key=key)
        ```
    """

    scale: float | Array

    def __init__(self, scale: ArrayLike = 1.0):
        """**Arguments:**

        - `scale`: The value on the diagonal.

        **Raises:**

        A `TypeError` if `scale` is not a real number, and a `ValueError` if it is not
        finite. When used: a `ValueError` if the shape has fewer than two dimensions,
        and a `TypeError` if the dtype is that of integers.
        """
        self.scale = _real("scale", scale)

    def _draw(self, key, shape, dtype) -> Array:
        _check_is_weight(self, shape)
        centre = tuple((size - 1) // 2 for size in shape[:-2])
        eye = constant(self.scale)(key, (), dtype) * jnp.eye(*shape[-2:], dtype=dtype)
        return jnp.zeros(shape, dtype).at[centre].set(eye)


class sparse(AbstractInitialiser):
    """Draws from the normal distribution with mean zero, and then sets part of the
    outgoing connections of each input to zero, i.e. part of each row of a matrix of
    shape `(in, out)`. As `torch.nn.init.sparse_`, for the transposed matrix.

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
    """

    sparsity: float | Array
    stddev: float | Array

    def __init__(self, sparsity: ArrayLike, stddev: ArrayLike = 1e-2):
        """**Arguments:**

        - `sparsity`: The fraction of each row to set to zero, between 0 and 1, which is
            rounded up to a whole number of elements. (The product is computed in
            floating point, as in PyTorch, so that 0.55 of 100 elements gives 56.)
        - `stddev`: The standard deviation of the other elements.

        **Raises:**

        A `TypeError` if either is not a real number. A `ValueError` if `sparsity` is
        not between 0 and 1, or if `stddev` is negative or not finite. When used: a
        `ValueError` if the shape has fewer than two dimensions.
        """
        self.sparsity = _real("sparsity", sparsity, low=0.0, high=1.0)
        self.stddev = _real("stddev", stddev, low=0.0)

    def _draw(self, key, shape, dtype) -> Array:
        _check_is_weight(self, shape)
        value_key, order_key = jrandom.split(key, 2)
        values = jinit.normal(self.stddev)(value_key, shape, dtype)
        order = jnp.argsort(jrandom.uniform(order_key, shape), axis=-1)
        ceil = math.ceil if isinstance(self.sparsity, float) else jnp.ceil
        is_zero = order < jnp.asarray(ceil(self.sparsity * shape[-1]), order.dtype)
        return jnp.where(is_zero, jnp.zeros((), dtype), values)


_gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": 2**0.5, "selu": 3 / 4}
_gains |= {f"conv{t}{n}d": 1.0 for t in ("", "_transpose") for n in (1, 2, 3)}


def calculate_gain(
    nonlinearity: str | Callable, param: ArrayLike | None = None
) -> float:
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
    normal $z$, by Gauss--Hermite quadrature. With this gain the second moment of
    activations is kept through one layer: if it is one for the inputs, then it is one
    for the outputs. The figures for ReLU are the same both ways. Those for `"tanh"` and
    `"selu"` have another meaning: that of `jax.numpy.tanh` is 1.59, and not $5/3$.

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
    - `param`: The negative slope of `"leaky_relu"`. Defaults to `0.01`. Not used for
        any other name.

    **Returns:**

    A Python `float`.

    **Raises:**

    A `TypeError` if `nonlinearity` is neither a name nor a function. A `ValueError` if
    it is none of the names above, if it is a function that does not act elementwise or
    whose second moment is zero or not finite, or if `param` is not a number or given
    together with a function.
    """  # noqa: E501
    slope = 0.01 if param is None else param
    if not isinstance(slope, Real) or (callable(nonlinearity) and param is not None):
        raise ValueError(f"`param` is the slope of `'leaky_relu'`. Got {param!r}.")
    if callable(nonlinearity):
        nodes, weights = np.polynomial.hermite_e.hermegauss(100)
        with jax.ensure_compile_time_eval():
            z = jnp.asarray(nodes)
            # Also of some in another order, which is to make no difference.
            values, some = (np.abs(np.asarray(nonlinearity(x))) for x in (z, z[49::-1]))
        second_moment = 0.0
        if values.shape == z.shape and np.allclose(some, values[49::-1], rtol=1e-4):
            second_moment = weights @ values.astype(float) ** 2 / weights.sum()
        if not 0 < second_moment < math.inf:
            must = "`nonlinearity` must act elementwise, and have a finite gain"
            raise ValueError(f"{must}. Got {nonlinearity!r}.")
        return 1 / math.sqrt(second_moment)
    if not isinstance(nonlinearity, str):
        must = "`nonlinearity` must be a name or a function"
        raise TypeError(f"{must}. Got {nonlinearity!r}.")
    gains = _gains | {"leaky_relu": math.sqrt(2 / (1 + float(slope) ** 2))}
    if nonlinearity not in gains:
        must = f"`nonlinearity` must be a function, or one of {', '.join(gains)}"
        raise ValueError(f"{must}. Got {nonlinearity!r}.")
    return gains[nonlinearity]


def _real(name, value, low: Any = -math.inf, high=math.inf) -> Any:
    """Checks a numeric argument. (The values of arrays may not be known yet.)"""
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()
    if isinstance(value, int | float) and not isinstance(value, bool):
        low = -math.inf if isinstance(low, jax.Array) else low
        if not (low <= value <= high and abs(value) <= sys.float_info.max):
            must = f"`{name}` must be finite, and in the range from {low} to {high}"
            raise ValueError(f"{must}. Got {value}.")
        return float(value)
    is_array = isinstance(value, jax.Array | np.ndarray)
    if not is_array or value.dtype == bool or not keeps_kind(value.dtype, jnp.float32):
        raise TypeError(f"`{name}` must be a real number or an array. Got {value!r}.")
    return jnp.asarray(value)


def _one_of(name, value, literal) -> Any:
    if value not in get_args(literal):
        raise ValueError(f"`{name}` must be one of {get_args(literal)}. Got {value!r}.")
    return value


def _check_is_weight(init, shape) -> None:
    if len(shape) < 2:
        raise ValueError(f"`{init}` needs a shape `(*spatial, in, out)`. Got {shape}.")


def _draw_parts(draw, key, dtype) -> Array:
    """Draws the real and the imaginary part, if there is one."""
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        return draw(key, dtype)
    real_key, imag_key = jrandom.split(key, 2)
    real_dtype = jnp.finfo(dtype).dtype
    real, imag = draw(real_key, real_dtype), draw(imag_key, real_dtype)
    return jax.lax.complex(real, imag)
