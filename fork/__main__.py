"""The command line."""

import argparse
import sys
from pathlib import Path

from fork.tree import diff, EditError, write_tree
from fork.upstream import pinned, read_pin, UpstreamError


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m fork", description="Turns upstream's package into the fork."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    tree = commands.add_parser("tree", help="write the forked package to DEST/equinox")
    tree.add_argument("dest", metavar="DEST", type=Path)
    tree.add_argument(
        "--link",
        action="store_true",
        help="link to the new files in this repository, rather than copying them",
    )
    commands.add_parser("diff", help="print the diff against pinned upstream")
    args = parser.parse_args()
    try:
        pin = read_pin()
        site = pinned(pin)
        if args.command == "tree":
            write_tree(site, pin.version, args.dest, link=args.link)
        else:
            sys.stdout.write(diff(site, pin.version))
    except (EditError, UpstreamError) as e:
        sys.exit(f"error: {e}")


if __name__ == "__main__":
    main()
