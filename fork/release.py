"""Checks that a release can be made, and prints what is new in it.

`python -m fork.release v0.13.8+init.3` checks that this is the tag of the version. The
changelog must have a section for it, with a date.
"""

import re
import sys
from datetime import date

from fork.upstream import read_pin, ROOT


def notes(changelog: str, version: str) -> str:
    """The section of a version, without its heading."""
    heading = rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d{{2}}-\d{{2}})\n"
    section = rf"{heading}(.*?)(?=^## |\Z)"
    found = re.findall(section, changelog, re.DOTALL | re.MULTILINE)
    if len(found) != 1 or not found[0][1].strip():
        sys.exit(f"error: CHANGELOG.md has no section `[{version}] - <date>`, or two")
    date.fromisoformat(found[0][0])
    return found[0][1].strip() + "\n"


def main() -> None:
    version = read_pin().fork_version
    if sys.argv[1:] not in ([], [f"v{version}"]):
        given = " ".join(sys.argv[1:])
        sys.exit(f"error: the tag of this version is v{version}, not {given}")
    sys.stdout.write(notes((ROOT / "CHANGELOG.md").read_text("utf-8"), version))


if __name__ == "__main__":
    main()
