import math
from collections.abc import Callable
from typing import Any, get_args, Literal

import jax
import jax.lax as lax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import numpy as np
import wadler_lindig as wl
from jaxtyping import Array, ArrayLike, PRNGKeyArray

from .._module import field
from ._initialise import (
    check_initialiser,
    check_result,
    Initializer as Initializer,
    keeps_kind,
    Parameter,
    ParameterInitialiser,
    UnsuitableError,
)
from ._misc import default_init
from ._reinitialise import reinitialise as reinitialise


__all__ = [
    "Initializer",
    "calculate_gain",
    "constant",
    "delta_orthogonal",
    "fan_in_uniform",
    "from_jax",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "reinitialise",
    "sparse",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]


_Mode = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
_Distribution = Literal["truncated_normal", "normal", "uniform"]


def _draw_parts(draw_real: Callable, key: PRNGKeyArray, dtype: Any) -> Array:
    if jnp.issubdtype(dtype, jnp.complexfloating):
        real_dtype = jnp.finfo(dtype).dtype
        real_key, imag_key = jrandom.split(key, 2)
        return lax.complex(
            draw_real(real_key, real_dtype), draw_real(imag_key, real_dtype)
        )
    else:
        return draw_real(key, dtype)


def _at_least_32_bit(dtype: Any) -> Any:
    # JAX has no QR decomposition for 16-bit dtypes.
    return jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype


def _to_jax_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[2:], shape[1], shape[0])


def _from_jax_layout(x: Array) -> Array:
    return jnp.moveaxis(x, (-1, -2), (0, 1))


def _check_has_fans(param: Parameter, shape: tuple[int, ...]) -> None:
    if len(param.weight_shape) < 2:
        raise UnsuitableError(
            "An initialiser that depends on `fan_in` or `fan_out` can only be used for "
            "the parameters of linear maps. (When calling it by hand, the shape must "
            f"be `(out, in, *spatial)`.) Got shape {shape}."
        )


def _check_is_weight(
    init: ParameterInitialiser, param: Parameter, shape: tuple[int, ...]
) -> None:
    if param.is_bias:
        raise UnsuitableError(
            "It is for matrices, such as weights. Use for example `eqx.nn.init.zeros`."
        )
    if len(param.weight_shape) < 2:
        raise UnsuitableError(
            f"`{init!r}` is for matrices and for the kernels of convolutions, i.e. for "
            f"shapes `(out, in, *spatial)`. Got shape {shape}."
        )


def _number(
    name: str,
    value: Any,
    *,
    nonnegative: bool = False,
    allow_complex: bool = False,
) -> Any:
    # Only Python numbers have their values checked. Those of arrays may not be known
    # yet: they can be tracers.
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()
    kinds = (jnp.integer, jnp.floating, jnp.complexfloating)[: 2 + allow_complex]
    if isinstance(value, np.ndarray | jax.Array) and any(
        jnp.issubdtype(value.dtype, kind) for kind in kinds
    ):
        return jnp.asarray(value)
    types = (int, float, complex) if allow_complex else (int, float)
    if isinstance(value, bool) or not isinstance(value, types):
        expected = "a number" if allow_complex else "a real number"
        raise TypeError(
            f"`{name}` must be {expected}, or an array of them. Got {value!r} of type "
            f"`{type(value).__name__}`."
        )
    if allow_complex:
        return value
    value = float(value)  # pyright: ignore[reportArgumentType]
    if not math.isfinite(value):
        raise ValueError(f"`{name}` must be finite. Got {value}.")
    if nonnegative and value < 0:
        raise ValueError(f"`{name}` must not be negative. Got {value}.")
    return value


def _check_order(
    low_name: str, low: Any, high_name: str, high: Any, strict: bool = False
) -> None:
    if isinstance(low, float) and isinstance(high, float):
        if low > high or (strict and low == high):
            sign = "<" if strict else "<="
            raise ValueError(
                f"Must have `{low_name} {sign} {high_name}`. Got {low} and {high}."
            )


def _one_of(name: str, value: Any, literal: Any) -> Any:
    accepted = get_args(literal)
    if value not in accepted:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, accepted))}. Got {value!r}."
        )
    return value


class constant(ParameterInitialiser):
    """Sets every element to a given value."""

    value: int | float | complex | Array

    def __init__(self, value: ArrayLike):
        """**Arguments:**

        - `value`: A scalar, or an array that broadcasts to the shape of the parameter.

        **Raises:**

        A `TypeError` if `value` is not a number or an array of numbers. When used: a
        `ValueError` if it does not broadcast to the shape, and a `TypeError` if its
        dtype cannot be cast to that of the parameter (complex to real, or floating
        point to integer).
        """
        self.value = _number("value", value, allow_complex=True)

    def draw(
        self, param: Parameter, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        if not keeps_kind(jnp.result_type(self.value), dtype):
            raise TypeError(
                f"`value` of `constant` must be of a kind that can be cast to the "
                f"dtype {jnp.dtype(dtype).name} of the parameter. Got {self.value}."
            )
        value_shape = jnp.shape(self.value)
        try:
            broadcasts = np.broadcast_shapes(value_shape, shape) == shape
        except ValueError:
            broadcasts = False
        if not broadcasts:
            raise UnsuitableError(
                f"`value` of `constant` has shape {value_shape}, which does not "
                f"broadcast to the shape {shape} of the parameter."
            )
        return jinit.constant(self.value)(key, shape, dtype)


class uniform(ParameterInitialiser):
    """Draws from the uniform distribution on an interval.

    For a complex dtype, the real and imaginary parts are each drawn in this way.
    """

    minval: float | Array
    maxval: float | Array

    def __init__(self, minval: ArrayLike, maxval: ArrayLike):
        """**Arguments:**

        - `minval`: The lower end of the interval. (Inclusive.)
        - `maxval`: The upper end of the interval. (Exclusive.)

        Both ends must be given: `jax.nn.initializers.uniform(scale)` draws from
        `[0, scale)`, which is rarely what is wanted of a weight.

        **Raises:**

        A `TypeError` if either is not a real number, and a `ValueError` if it is not
        finite, or if `minval > maxval`.
        """
        self.minval = _number("minval", minval)
        self.maxval = _number("maxval", maxval)
        _check_order("minval", self.minval, "maxval", self.maxval)

    def draw(
        self, param: Parameter, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        def draw_real(key, dtype):
            return jrandom.uniform(key, shape, dtype, self.minval, self.maxval)

        return _draw_parts(draw_real, key, dtype)


class normal(ParameterInitialiser):
    """Draws from a normal distribution with mean zero.

    For a complex dtype, the standard deviation is that of the complex number, and is
    shared equally by the real and imaginary parts. As `jax.nn.initializers.normal`.
    """

    stddev: float | Array

    def __init__(self, stddev: ArrayLike = 1e-2):
        """**Arguments:**

        - `stddev`: The standard deviation.

        **Raises:**

        A `TypeError` if `stddev` is not a real number, and a `ValueError` if it is
        negative or not finite.
        """
        self.stddev = _number("stddev", stddev, nonnegative=True)

    def draw(
        self, param: Parameter, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        return jinit.normal(self.stddev)(key, shape, dtype)


class truncated_normal(ParameterInitialiser):
    """Draws from a normal distribution with mean zero that is truncated on both sides.

    For a complex dtype, the real and imaginary parts are each drawn in this way, with
    `stddev` shared equally between them. For a real dtype, as
    `jax.nn.initializers.truncated_normal`.
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
        finite, if `stddev` is negative, or if `lower >= upper`.
        """
        self.stddev = _number("stddev", stddev, nonnegative=True)
        self.lower = _number("lower", lower)
        self.upper = _number("upper", upper)
        _check_order("lower", self.lower, "upper", self.upper, strict=True)

    def draw(
        self, param: Parameter, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
        stddev = self.stddev / math.sqrt(2) if is_complex else self.stddev
        init = jinit.truncated_normal(stddev, lower=self.lower, upper=self.upper)
        return _draw_parts(lambda k, d: init(k, shape, d), key, dtype)


class fan_in_uniform(ParameterInitialiser):
    r"""Draws from the uniform distribution on
    $\left[-1 / \sqrt{\text{fan\_in}}, 1 / \sqrt{\text{fan\_in}}\right]$.

    This is the default of [`equinox.nn.Linear`][], [`equinox.nn.Conv`][] and
    [`equinox.nn.ConvTranspose`][], for both weight and bias. (As in PyTorch.) If
    `fan_in` is zero then the interval is $[-1, 1]$. For a complex dtype, the real and
    imaginary parts are each drawn in this way.

    Calling it by hand on a shape of fewer than two dimensions raises a `ValueError`.
    """

    def draw(
        self, param: Parameter, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        _check_has_fans(param, shape)
        return default_init(key, shape, dtype, param.fan_in_limit)


class variance_scaling(ParameterInitialiser):
    r"""Draws with mean zero and variance $\text{scale} / n$, where $n$ is a fan, i.e.
    the number of inputs or of outputs of a single neuron.

    Layers know their fans: that of a bias is that of its weight, and that of a grouped
    convolution is that of a single group. If called by hand, then the shape is read as
    `(out, in, *spatial)`, and having fewer than two dimensions raises a `ValueError`. A
    fan of zero counts as one.

    As `jax.nn.initializers.variance_scaling` with `in_axis=1, out_axis=0`. For a
    complex dtype, `"uniform"` and `"truncated_normal"` draw from a disc.
    """

    scale: float | Array
    mode: _Mode = field(static=True)
    distribution: _Distribution = field(static=True)

    def __init__(self, scale: ArrayLike, mode: _Mode, distribution: _Distribution):
        """**Arguments:**

        - `scale`: The factor by which to multiply the variance.
        - `mode`: What to divide the variance by. One of `"fan_in"`, `"fan_out"`,
            `"fan_avg"` (their arithmetic mean) or `"fan_geo_avg"` (their geometric
            mean).
        - `distribution`: One of `"truncated_normal"` (at two standard deviations,
            with the variance corrected for that), `"normal"` or `"uniform"`.

        **Raises:**

        A `TypeError` if `scale` is not a real number. A `ValueError` if it is negative
        or not finite, or if `mode` or `distribution` is none of the above.
        """
        self.scale = _number("scale", scale, nonnegative=True)
        self.mode = _one_of("mode", mode, _Mode)
        self.distribution = _one_of("distribution", distribution, _Distribution)

    def draw(
        self, param: Parameter, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        _check_has_fans(param, shape)
        if 0 in shape:
            return jnp.zeros(shape, dtype)
        fan_in, fan_out = param.fan_in, param.fan_out
        fans = dict(
            fan_in=fan_in,
            fan_out=fan_out,
            fan_avg=(fan_in + fan_out) / 2,
            fan_geo_avg=(fan_in * fan_out) ** 0.5,
        )
        # `jax.nn.initializers` can only deduce fans from the shape, which is not
        # enough to go by for a bias or a grouped convolution. So divide by the fan
        # here, and have JAX see a batch of independent numbers, i.e. a fan of one.
        # (Older versions of JAX need at least two dimensions all the same.)
        jax_shape = (1,) * (2 - len(shape)) + shape
        init = jinit.variance_scaling(
            self.scale / (fans[self.mode] or 1),
            "fan_in",
            self.distribution,
            in_axis=(),
            out_axis=(),
            batch_axis=tuple(range(len(jax_shape))),
        )
        return init(key, jax_shape, dtype).reshape(shape)


class _Named(ParameterInitialiser):
    """Prints as `name`; otherwise the same as `initialiser`."""

    name: str = field(static=True)
    # Static, as a change of its numbers would make a lie of the name.
    initialiser: ParameterInitialiser = field(static=True)

    def __pdoc__(self, **kwargs) -> wl.AbstractDoc:
        return wl.TextDoc(self.name)

    def draw(
        self, param: Parameter, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        return self.initialiser.draw(param, key, shape, dtype)


zeros = _Named("zeros", constant(0))
ones = _Named("ones", constant(1))


def _named_scaling(
    name: str, scale: float, mode: _Mode, distribution: _Distribution
) -> Initializer:
    return _Named(f"{name}()", variance_scaling(scale, mode, distribution))


def glorot_uniform() -> Initializer:
    """[`equinox.nn.init.variance_scaling`][] with
    `scale=1, mode="fan_avg", distribution="uniform"`.

    Also known as `xavier_uniform`.

    ??? cite

        [Understanding the difficulty of training deep feedforward neural networks](
        http://proceedings.mlr.press/v9/glorot10a.html)
    """
    return _named_scaling("glorot_uniform", 1.0, "fan_avg", "uniform")


def glorot_normal() -> Initializer:
    """[`equinox.nn.init.variance_scaling`][] with
    `scale=1, mode="fan_avg", distribution="truncated_normal"`.

    Also known as `xavier_normal`. See
    [`equinox.nn.init.glorot_uniform`][] for the reference.
    """
    return _named_scaling("glorot_normal", 1.0, "fan_avg", "truncated_normal")


def he_uniform() -> Initializer:
    """[`equinox.nn.init.variance_scaling`][] with
    `scale=2, mode="fan_in", distribution="uniform"`.

    Also known as `kaiming_uniform`. Keeps the scale of activations through layers that
    are followed by a ReLU.

    ??? cite

        [Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet
        Classification](https://arxiv.org/abs/1502.01852)
    """
    return _named_scaling("he_uniform", 2.0, "fan_in", "uniform")


def he_normal() -> Initializer:
    """[`equinox.nn.init.variance_scaling`][] with
    `scale=2, mode="fan_in", distribution="truncated_normal"`.

    Also known as `kaiming_normal`. See
    [`equinox.nn.init.he_uniform`][] for the reference.
    """
    return _named_scaling("he_normal", 2.0, "fan_in", "truncated_normal")


def lecun_uniform() -> Initializer:
    """[`equinox.nn.init.variance_scaling`][] with
    `scale=1, mode="fan_in", distribution="uniform"`.

    Keeps the scale of activations through linear layers, and through those that are
    followed by a SELU.

    ??? cite

        [Efficient BackProp](https://doi.org/10.1007/3-540-49430-8_2), and
        [Self-Normalizing Neural Networks](https://arxiv.org/abs/1706.02515)
    """
    return _named_scaling("lecun_uniform", 1.0, "fan_in", "uniform")


def lecun_normal() -> Initializer:
    """[`equinox.nn.init.variance_scaling`][] with
    `scale=1, mode="fan_in", distribution="truncated_normal"`.

    See [`equinox.nn.init.lecun_uniform`][] for the references.
    """
    return _named_scaling("lecun_normal", 1.0, "fan_in", "truncated_normal")


xavier_uniform = glorot_uniform
xavier_normal = glorot_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal


class orthogonal(ParameterInitialiser):
    """Draws uniformly from the matrices with orthonormal rows or columns, whichever of
    them are fewer. (For a complex dtype, from the semi-unitary matrices.)

    The weight of a convolution is drawn as a matrix of shape
    `(out, in // groups * prod(spatial))`, i.e. groups are not treated separately. As
    `jax.nn.initializers.orthogonal` with `column_axis=0`. 16-bit dtypes are computed in
    `jax.numpy.float32`.

    Using it for a bias, or for any other shape of fewer than two dimensions, raises
    a `ValueError`.

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
        finite.
        """
        self.scale = _number("scale", scale)

    def draw(
        self, param: Parameter, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        _check_is_weight(self, param, shape)
        if 0 in shape:
            return jnp.zeros(shape, dtype)
        init = jinit.orthogonal(self.scale, column_axis=0)
        return init(key, shape, _at_least_32_bit(dtype)).astype(dtype)


class delta_orthogonal(ParameterInitialiser):
    """Draws the kernel of a convolution: as [`equinox.nn.init.orthogonal`][] at the
    central tap, and zero elsewhere.

    As `jax.nn.initializers.delta_orthogonal`, after moving axes. 16-bit dtypes are
    computed in `jax.numpy.float32`.

    The shape must be `(out, in // groups, *spatial)`, with one to three spatial
    dimensions, and no more inputs than outputs. Using it for anything else
    raises a `ValueError`.

    ??? cite

        [Dynamical Isometry and a Mean Field Theory of CNNs](
        https://arxiv.org/abs/1806.05393)
    """

    scale: float | Array

    def __init__(self, scale: ArrayLike = 1.0):
        """**Arguments:**

        - `scale`: As [`equinox.nn.init.orthogonal`][].

        **Raises:**

        As [`equinox.nn.init.orthogonal`][].
        """
        self.scale = _number("scale", scale)

    def draw(
        self, param: Parameter, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        _check_is_weight(self, param, shape)
        if len(shape) not in (3, 4, 5) or (shape[1] > shape[0] and 0 not in shape):
            raise UnsuitableError(
                f"`{self!r}` needs a convolution's shape `(out, in, *spatial)`, with "
                "one to three spatial dimensions, and no more inputs than outputs. "
                f"Got {shape}."
            )
        if 0 in shape:
            return jnp.zeros(shape, dtype)
        init = jinit.delta_orthogonal(self.scale)
        out = init(key, _to_jax_shape(shape), _at_least_32_bit(dtype))
        return _from_jax_layout(out).astype(dtype)


class identity(ParameterInitialiser):
    """The identity matrix, with zeros for its extra rows or columns if it is not
    square. For a convolution: the kernel that passes its input through if
    `padding="SAME"`, separately for each group.

    The value is at the central tap: index `(size - 1) // 2` of each spatial dimension,
    or `size // 2` for a transposed convolution. When called by hand, it is drawn for a
    convolution with a single group.

    Using it for a bias, or for any other shape of fewer than two dimensions, raises a
    `ValueError`.
    """

    scale: float | Array

    def __init__(self, scale: ArrayLike = 1.0):
        """**Arguments:**

        - `scale`: The value on the diagonal.

        **Raises:**

        A `TypeError` if `scale` is not a real number, and a `ValueError` if it is not
        finite.
        """
        self.scale = _number("scale", scale)

    def draw(
        self, param: Parameter, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        _check_is_weight(self, param, shape)
        if not keeps_kind(jnp.result_type(self.scale), dtype):
            raise TypeError(f"`{self!r}` cannot be drawn as {jnp.dtype(dtype).name}.")
        out = jnp.zeros(shape, dtype)
        if 0 in shape:
            return out
        out_size, in_size, *spatial = shape
        index_in_group = np.arange(out_size) % max(1, out_size // param.groups)
        eye = index_in_group[:, None] == np.arange(in_size)[None, :]
        centre = tuple((size - (not param.is_transposed)) // 2 for size in spatial)
        scale = jnp.asarray(self.scale, dtype)
        return out.at[(slice(None), slice(None), *centre)].set(
            jnp.where(eye, scale, jnp.zeros((), dtype))
        )


class sparse(ParameterInitialiser):
    """Draws from a normal distribution with mean zero, and then sets part of each
    column to zero, i.e. part of the outgoing connections of each input.

    The weight of a convolution is drawn as a matrix of shape
    `(out, in // groups * prod(spatial))`. As `torch.nn.init.sparse_`.

    Using it for a bias, or for any other shape of fewer than two dimensions, raises
    a `ValueError`.

    ??? cite

        [Deep learning via Hessian-free optimization](
        https://www.cs.toronto.edu/~jmartens/docs/Deep_HessianFree.pdf)
    """

    sparsity: float | Array
    stddev: float | Array

    def __init__(self, sparsity: ArrayLike, stddev: ArrayLike = 1e-2):
        """**Arguments:**

        - `sparsity`: The fraction of each column to set to zero, between 0 and 1.
            (Rounded up to a whole number of elements.)
        - `stddev`: The standard deviation of the other elements.

        **Raises:**

        A `TypeError` if either is not a real number. A `ValueError` if `sparsity` is
        not between 0 and 1, or if `stddev` is negative or not finite.
        """
        self.sparsity = _number("sparsity", sparsity)
        if isinstance(self.sparsity, float) and not 0 <= self.sparsity <= 1:
            raise ValueError(f"`sparsity` must be between 0 and 1. Got {sparsity}.")
        self.stddev = _number("stddev", stddev, nonnegative=True)

    def draw(
        self, param: Parameter, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        _check_is_weight(self, param, shape)
        if 0 in shape:
            return jnp.zeros(shape, dtype)
        value_key, order_key = jrandom.split(key, 2)
        values = jinit.normal(self.stddev)(value_key, shape, dtype)
        order = jrandom.permutation(
            order_key, lax.broadcasted_iota(jnp.int32, shape, 0), 0, independent=True
        )
        if isinstance(self.sparsity, float):
            num_zeros = math.ceil(self.sparsity * shape[0])
        else:
            num_zeros = jnp.ceil(self.sparsity * shape[0]).astype(jnp.int32)
        return jnp.where(order < num_zeros, jnp.zeros((), dtype), values)


class from_jax(ParameterInitialiser):
    """Adapts an initialiser that was written for the layout of JAX and Flax, in which
    weights have shape `(*spatial, in, out)`, to that of Equinox, in which they have
    shape `(out, in, *spatial)`.

    Without it, an initialiser that deduces fans from the shape draws at the wrong
    scale. (It still knows nothing of groups, as it sees only the shape.) The bias of a
    convolution is drawn with shape `(out,)`.

    !!! example

        ```python
        init = eqx.nn.init.from_jax(jax.nn.initializers.he_normal())
        eqx.nn.Linear(64, 32, weight_init=init, key=key)
        ```
    """

    initializer: Callable

    is_adapter = True

    def __init__(self, initializer: Initializer):
        """**Arguments:**

        - `initializer`: The initialiser to adapt. (Which must already be made:
            `jax.nn.initializers.he_normal()`, not `jax.nn.initializers.he_normal`.)

        **Raises:**

        A `TypeError` if `initializer` is not callable as `init(key, shape, dtype)`.
        When used: a `TypeError` if it does not return an array, or if that cannot be
        cast to the dtype of the parameter, and a `ValueError` if that does not have the
        shape that was asked for.
        """
        check_initialiser("initializer", initializer)
        self.initializer = initializer

    def draw(
        self, param: Parameter, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        is_linear_map = len(param.weight_shape) >= 2
        is_weight = is_linear_map and not param.is_bias
        if is_weight:
            jax_shape = _to_jax_shape(shape)
        else:
            jax_shape = shape[:1] if is_linear_map else shape
        out = self.initializer(key, jax_shape, dtype)
        out = check_result("initializer", self.initializer, out, jax_shape, dtype)
        return _from_jax_layout(out) if is_weight else out.reshape(shape)


def calculate_gain(nonlinearity: str, param: int | float | None = None) -> float:
    r"""The recommended gain for a nonlinearity, i.e. the factor by which to multiply
    the standard deviation of a weight so as to keep the scale of activations. As
    `torch.nn.init.calculate_gain`:

    | `nonlinearity` | gain |
    | --- | --- |
    | `"linear"`, `"conv1d"`, `"conv2d"`, `"conv3d"`, `"conv_transpose1d"`, `"conv_transpose2d"`, `"conv_transpose3d"`, `"sigmoid"` | $1$ |
    | `"tanh"` | $5/3$ |
    | `"relu"` | $\sqrt{2}$ |
    | `"leaky_relu"` | $\sqrt{2 / (1 + \text{param}^2)}$ |
    | `"selu"` | $3/4$ |

    **Arguments:**

    - `nonlinearity`: One of the names above.
    - `param`: The negative slope of `"leaky_relu"`. Defaults to `0.01`. Not used by any
        other nonlinearity.

    **Returns:**

    A Python `float`.

    **Raises:**

    A `ValueError` if `nonlinearity` is none of the above, or if the `param` of
    `"leaky_relu"` is not a number.
    """  # noqa: E501
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, int | float):
            raise ValueError(
                "`param` must be the negative slope of `'leaky_relu'`, as an `int` or "
                f"a `float`. Got {param!r}."
            )
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _gains:
        raise ValueError(
            "`nonlinearity` must be one of "
            f"{', '.join(map(repr, [*_gains, 'leaky_relu']))}. Got {nonlinearity!r}."
        )
    return _gains[nonlinearity]


_gains = {
    **dict.fromkeys(["linear", "conv1d", "conv2d", "conv3d"], 1.0),
    **{f"conv_transpose{n}d": 1.0 for n in (1, 2, 3)},
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}
