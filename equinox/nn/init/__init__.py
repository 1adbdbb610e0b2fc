"""Initialisers for the `weight_init` and `bias_init` arguments of layers.

An initialiser is any callable `init(key, shape, dtype) -> Array`, as in
`jax.nn.initializers`.
"""

from .._initialise import Initializer as Initializer
from ._initialisers import (
    calculate_gain as calculate_gain,
    constant as constant,
    delta_orthogonal as delta_orthogonal,
    fan_in_uniform as fan_in_uniform,
    glorot_normal as glorot_normal,
    glorot_uniform as glorot_uniform,
    he_normal as he_normal,
    he_uniform as he_uniform,
    identity as identity,
    kaiming_normal as kaiming_normal,
    kaiming_uniform as kaiming_uniform,
    lecun_normal as lecun_normal,
    lecun_uniform as lecun_uniform,
    normal as normal,
    ones as ones,
    orthogonal as orthogonal,
    sparse as sparse,
    truncated_normal as truncated_normal,
    uniform as uniform,
    variance_scaling as variance_scaling,
    xavier_normal as xavier_normal,
    xavier_uniform as xavier_uniform,
    zeros as zeros,
)


def __dir__() -> list[str]:
    return [name for name, x in globals().items() if name[0] != "_" and callable(x)]
