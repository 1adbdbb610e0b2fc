"""The form of a commit."""

from collections.abc import Sequence
from dataclasses import dataclass

from fork.codemod import FileEdits


@dataclass(frozen=True)
class Commit:
    """One commit of the pull request.

    `package_files` are the new files that belong to the package. They stand in this
    repository at the path that they have upstream, as does all else that is new.
    """

    subject: str
    body: str
    package_files: Sequence[str]
    edits: Sequence[FileEdits]
