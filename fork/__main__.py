"""The command line."""

import argparse
import sys
from pathlib import Path
from subprocess import CalledProcessError


try:
    import libcst  # noqa: F401
except ModuleNotFoundError:
    sys.exit("error: libcst is not installed; `make test` installs it into .venv")

from fork.check import check, releases, table
from fork.edits import COMMITS
from fork.follow import follow
from fork.review import CHECKS, review
from fork.series import SeriesError, write_series
from fork.sizes import table as table_of_sizes
from fork.suite import compare_suites
from fork.tree import diff, EditError, renew_tree, write_tree
from fork.upstream import pinned, read_pin, UpstreamError


def new_folder(name: str) -> Path:
    path = Path(name).resolve()
    if path.exists():
        raise argparse.ArgumentTypeError(f"{name} exists already")
    return path


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
        help="link to the new files in this repository, as an editable installation "
        "does, and replace DEST once the new one is complete",
    )
    commands.add_parser("diff", help="print the diff against pinned upstream")
    commands.add_parser("sizes", help="print how much each commit changes and adds")
    series = commands.add_parser(
        "series",
        help="write the pull request as patches, for a git checkout of upstream",
        description="Writes one patch per commit of the pull request, to apply with "
        "`git am`. The checkout must be without uncommitted changes to tracked files, "
        "and is left as it is.",
    )
    series.add_argument("checkout", metavar="CHECKOUT", type=Path)
    series.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        required=True,
        help="where to write them; replaces those of an earlier run",
    )
    series.add_argument(
        "--commits",
        metavar="N",
        type=int,
        choices=range(1, len(COMMITS) + 1),
        default=len(COMMITS),
        help="only the first N commits",
    )
    checks = commands.add_parser(
        "check",
        help="say whether the edits apply to other versions of upstream",
        description="Prints a table of which commits apply to which releases and "
        "checkouts, and exits with 1 if any does not. Of a release, only the package "
        "is looked at; of a checkout, also the documentation.",
    )
    checks.add_argument(
        "targets",
        metavar="VERSION | CHECKOUT",
        nargs="*",
        help="defaults to every release from 0.13.0 on",
    )
    on_copy = argparse.ArgumentParser(add_help=False)
    on_copy.add_argument("checkout", metavar="CHECKOUT", type=Path)
    on_copy.add_argument(
        "--scratch",
        metavar="DIR",
        type=new_folder,
        required=True,
        help="where to put the copy, environments and logs; must not exist yet",
    )
    reviews = commands.add_parser(
        "review",
        parents=[on_copy],
        help="check the pull request under upstream's own rules",
        description="Applies the series to a copy of a checkout, and runs the linters, "
        "the type checker, the tests and the documentation build of upstream on it.",
    )
    reviews.add_argument(
        "--checks", nargs="+", choices=CHECKS, help="only these; defaults to all"
    )
    commands.add_parser(
        "suite",
        parents=[on_copy],
        help="compare the tests of upstream on the fork and on pristine upstream",
        description="Runs the tests of a checkout on its package, with the edits and "
        "without them, in environments with equal packages. What fails is run again. "
        "Prints what differs, and exits with 1 if anything does.",
    )
    follows = commands.add_parser(
        "follow",
        help="try the fork on another release of upstream",
        description="Proposes the pin of a release, applies the edits to it, and runs "
        "the tests in a clone of this repository. Prints what is left to look at, and "
        "exits with 1 if anything fails.",
    )
    follows.add_argument("version", metavar="VERSION")
    follows.add_argument("checkout", metavar="CHECKOUT", type=Path, nargs="?")
    follows.add_argument("--scratch", metavar="DIR", type=new_folder, required=True)
    args = parser.parse_args()
    try:
        run(args)
    except (EditError, SeriesError, UpstreamError, OSError, CalledProcessError) as e:
        sys.exit(f"error: {e}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted")


def run(args: argparse.Namespace) -> None:
    if args.command == "series":
        commits = COMMITS[: args.commits]
        for patch in write_series(args.checkout, args.output, commits):
            print(patch)
    elif args.command == "review":
        if not review(args.checkout, args.scratch, args.checks or CHECKS):
            sys.exit(1)
    elif args.command == "suite":
        if not compare_suites(args.checkout, args.scratch):
            sys.exit(1)
    elif args.command == "follow":
        if not follow(args.version, args.scratch, args.checkout):
            sys.exit(1)
    elif args.command == "check":
        results = {target: check(target) for target in args.targets or releases()}
        print(table(results))
        errors = [e for row in results.values() for e in row if e is not None]
        if errors:
            sys.exit("\n" + "\n".join(f"error: {e}" for e in errors))
    else:
        pin = read_pin()
        site = pinned(pin)
        if args.command == "tree":
            write = renew_tree if args.link else write_tree
            write(site, pin.version, args.dest)
        elif args.command == "sizes":
            sys.stdout.write(table_of_sizes(site))
        else:
            sys.stdout.write(diff(site, pin.version))


if __name__ == "__main__":
    main()
