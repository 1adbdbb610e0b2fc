"""What is changed: the commits of the pull request, in order.

- `layers`: the namespace `equinox.nn.init`, and `weight_init` / `bias_init` on linear
    and convolutional layers, and on the layers that are made of these.
- `further_layers`: `weight_init` / `bias_init` on recurrent cells, embeddings and
    normalisation layers.
- `reinitialise`: `equinox.nn.reinitialise`, for whole models.
"""

from fork.edits.commit import Commit
from fork.edits.further_layers import FURTHER_LAYERS
from fork.edits.layers import LAYERS
from fork.edits.reinitialise import REINITIALISE


COMMITS: tuple[Commit, ...] = (LAYERS, FURTHER_LAYERS, REINITIALISE)
