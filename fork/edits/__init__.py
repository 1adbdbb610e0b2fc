"""What is changed: the commits of the pull request, in order.

- `linear`: the namespace `equinox.nn.init`, and `weight_init` / `bias_init` on linear
    and convolutional layers, and on the layers that are made of these.
- `recurrent`: the same on recurrent cells.
- `embedding_and_norms`: the same on embeddings and normalisation layers.
- `reinitialise`: `equinox.nn.reinitialise`, for whole models.
"""

from fork.edits.commit import Commit
from fork.edits.embedding_and_norms import EMBEDDING_AND_NORMS
from fork.edits.linear import LINEAR_LAYERS
from fork.edits.recurrent import RECURRENT_CELLS
from fork.edits.reinitialise import REINITIALISE


COMMITS: tuple[Commit, ...] = (
    LINEAR_LAYERS,
    RECURRENT_CELLS,
    EMBEDDING_AND_NORMS,
    REINITIALISE,
)
