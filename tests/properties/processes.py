"""Two processes with four devices each, joined over loopback: one of them.

Each holds half of every parameter, which must be that of a single process.
"""

import os
import sys


os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import equinox as eqx
import jax
import jax.random as jrandom
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


address, process = sys.argv[1], int(sys.argv[2])
jax.config.update("jax_threefry_partitionable", True)
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(address, num_processes=2, process_id=process)
assert jax.device_count() == 8 and jax.local_device_count() == 4

key = np.asarray(jrandom.PRNGKey(0))
inits = dict(weight_init=eqx.nn.init.he_normal(), bias_init=eqx.nn.init.normal())


def make(key):
    return [
        eqx.nn.Linear(64, 64, **inits, key=key),
        eqx.nn.Conv2d(64, 64, 3, groups=2, **inits, key=key),
        eqx.nn.MLP(64, 64, 64, 2, key=key),
    ]


abstract = eqx.filter_eval_shape(make, key)
for draw in (make, lambda key: eqx.nn.reinitialise(abstract, **inits, key=key)):
    arrays = lambda key: eqx.filter(draw(key), eqx.is_array)
    rows = NamedSharding(Mesh(np.array(jax.devices()), ("x",)), PartitionSpec("x"))
    with jax.default_device(jax.local_devices()[0]):
        expected = [np.asarray(x) for x in jax.tree.leaves(jax.jit(arrays)(key))]
    out = jax.tree.leaves(jax.jit(arrays, out_shardings=rows)(key))
    for x, y in zip(out, expected, strict=True):
        assert not x.is_fully_addressable
        for shard in x.addressable_shards:
            assert np.allclose(shard.data, y[shard.index], rtol=1e-5, atol=1e-6)
        assert sum(s.data.nbytes for s in x.addressable_shards) == y.nbytes // 2
print(f"process {process} is done")
