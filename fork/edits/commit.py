"""The form of a commit."""

from collections.abc import Sequence
from dataclasses import dataclass

from fork.codemod import FileEdits, LineEdits


@dataclass(frozen=True)
class Commit:
    """One commit of the pull request.

    `new_files` stand in this repository at the path that they have upstream. Each
    belongs to one commit, and is complete as of that.
    """

    subject: str
    body: str
    new_files: Sequence[str]
    edits: Sequence[FileEdits | LineEdits]
