"""The form of a commit."""

from collections.abc import Sequence
from dataclasses import dataclass

from fork.codemod import FileEdits, LineEdits


@dataclass(frozen=True)
class Commit:
    """One commit of the pull request.

    `new_files` stand in this repository at the path that they have upstream, and as
    they are after the last commit. If a file is to grow from commit to commit, then
    each of these lists it, and edits away what it is yet to have.
    """

    subject: str
    body: str
    new_files: Sequence[str]
    edits: Sequence[FileEdits | LineEdits]
