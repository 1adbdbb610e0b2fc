"""What is changed: the commits of the pull request, in order.

- `layers`: the namespace `equinox.nn.init`, and `weight_init` / `bias_init` on linear
    and convolutional layers, and on the layers that are made of these.
"""

from fork.edits.commit import Commit
from fork.edits.layers import LAYERS


COMMITS: tuple[Commit, ...] = (LAYERS,)
