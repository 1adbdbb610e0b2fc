"""Checks the wheel where it is installed. Run by `make release-check`."""

import importlib.metadata

import equinox as eqx
import jax


[distribution] = importlib.metadata.distributions(name="equinox")
metadata = distribution.metadata
assert eqx.__version__ == distribution.version
assert metadata["License-Expression"] == "Apache-2.0"
assert metadata.get_all("License-File") == ["LICENSE", "NOTICE"]
for name in ("LICENSE", "NOTICE"):
    assert distribution.read_text(f"licenses/{name}")
readme = metadata.get_payload()
assert "weight_init" in readme
assert eqx.__file__ in map(str, map(distribution.locate_file, distribution.files))

linear = eqx.nn.Linear(2, 2, weight_init=eqx.nn.init.ones, key=jax.random.key(0))
assert (linear.weight == 1).all()
assert "he_normal" in dir(eqx.nn.init)
print(
    f"equinox {distribution.version}: installed, imported, metadata and licence files"
)
