"""The form of a commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fork.codemod import FileEdits, LineEdits


@dataclass(frozen=True)
class Commit:
    """One commit of the pull request.

    `new_files` stand in this repository at the path that they have upstream. `adds`
    names the functions that a commit adds to a new file of an earlier one. (They stand
    in that file here. The earlier commits leave them out.)
    """

    subject: str
    body: str
    new_files: Sequence[str]
    edits: Sequence[FileEdits | LineEdits]
    adds: Mapping[str, Sequence[str]] = field(default_factory=dict)
