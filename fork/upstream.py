"""Where pristine upstream comes from, and the proof that it is the pinned one."""

import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile


if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "upstream"


class UpstreamError(Exception):
    """Upstream cannot be found, or is not the one that is pinned."""


@dataclass(frozen=True)
class Pin:
    """Which release of upstream this is a fork of, as `pyproject.toml` says."""

    version: str
    digest: str
    wheel_digest: str
    revision: int

    @property
    def fork_version(self) -> str:
        return f"{self.version}+init.{self.revision}"


def read_pin(root: Path = ROOT) -> Pin:
    pyproject = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    requires = pyproject["build-system"]["requires"]
    # By `===`, as `==` allows for the fork itself.
    pattern = r"equinox===([\w.]+)(?: ;.*)?"
    versions = [m[1] for r in requires if (m := re.fullmatch(pattern, r))]
    if len(versions) != 1:
        raise UpstreamError("`build-system.requires` must pin `equinox===...` once")
    table = pyproject["tool"]["fork"]
    digests = table["upstream-sha256"], table["upstream-wheel-sha256"]
    return Pin(versions[0], *digests, table["revision"])


def package_files(site: Path) -> list[Path]:
    """The files of the package in a directory, as sorted paths relative to it."""
    files = (p for p in (site / "equinox").rglob("*") if p.is_file())
    return sorted(p.relative_to(site) for p in files if "__pycache__" not in p.parts)


def metadata(site: Path) -> importlib.metadata.Distribution:
    """Of the package in a directory."""
    found = importlib.metadata.distributions(name="equinox", path=[str(site)])
    return next(iter(found))


def requirements(site: Path) -> list[str]:
    """What the package in a directory requires, as lines of its metadata."""
    headers = metadata(site).metadata
    return [
        f"{name}: {value}"
        for name in ("Requires-Dist", "Requires-Python")
        for value in sorted(headers.get_all(name, []))
    ]


def sums(root: Path, paths: Iterable[Path]) -> str:
    """A line for each file, with its SHA-256."""
    digest = lambda path: hashlib.sha256((root / path).read_bytes()).hexdigest()
    return "".join(f"{digest(path)}  {path.as_posix()}\n" for path in paths)


def digest(site: Path) -> str:
    """A SHA-256 over the names and contents of the package's files, and over what it
    requires."""
    requires = "".join(f"{line}\n" for line in requirements(site))
    text = requires + sums(site, package_files(site))
    return hashlib.sha256(text.encode()).hexdigest()


def prove(site: Path, version: str, pin: Pin) -> None:
    """Raises unless the package in `site` is the pinned one, byte for byte."""
    if version != pin.version:
        raise UpstreamError(
            f"the pinned upstream is equinox {pin.version}, but {site} has equinox "
            f"{version}; install equinox==={pin.version} there, or build in isolation"
        )
    if (found := digest(site)) != pin.digest:
        raise UpstreamError(
            f"equinox {version} in {site} is not what was pinned: expected SHA-256 "
            f"{pin.digest}, found {found}"
        )
    info = f"equinox-{version}.dist-info"
    for file in metadata(site).files or []:
        is_own = file.parts[0] in ("equinox", info) and file.name != "entry_points.txt"
        if not is_own:
            raise UpstreamError(f"equinox {version} in {site} installed {file} as well")


def from_build_environment(pin: Pin) -> Path:
    """The directory that holds upstream's package, installed in this environment."""
    try:
        distribution = importlib.metadata.distribution("equinox")
    except importlib.metadata.PackageNotFoundError:
        raise UpstreamError(
            f"equinox {pin.version} is not installed in the build environment"
        ) from None
    site = Path(str(distribution.locate_file("")))
    prove(site, distribution.version, pin)
    return site


def fetch(version: str, folder: Path) -> tuple[Path, str]:
    """Downloads the wheel of a release: its path, and its SHA-256."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    get = ["download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    command = [*pip, *get, f"equinox==={version}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        why = done.stderr.strip().rpartition("\n")[2].removeprefix("ERROR: ")
        raise UpstreamError(f"cannot download equinox {version}: {why}")
    [wheel] = folder.glob("*.whl")
    return wheel, hashlib.sha256(wheel.read_bytes()).hexdigest()


def download(
    version: str, cache: Path = CACHE, wheel_digest: str | None = None
) -> Path:
    """A directory that holds a release's package and metadata, fetched if need be.

    Raises if the wheel that is fetched has another SHA-256.
    """
    site = cache / version
    if not site.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as tmp:
            wheel, found = fetch(version, Path(tmp))
            if wheel_digest not in (None, found):
                raise UpstreamError(
                    f"{wheel.name} is not the wheel that was pinned: expected SHA-256 "
                    f"{wheel_digest}, found {found}"
                )
            unpacked = Path(tmp) / "site"
            with ZipFile(wheel) as archive:
                archive.extractall(unpacked)
            try:
                unpacked.rename(site)
            except OSError:  # Another process was faster.
                if not site.exists():
                    raise
    return site


def environment(site: Path | None = None) -> dict[str, str]:
    """That of a process that imports what is installed, or the package in `site`."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return env if site is None else env | {"PYTHONPATH": str(site)}


def pinned(pin: Pin) -> Path:
    """The pinned release: downloaded, and proven."""
    site = download(pin.version, wheel_digest=pin.wheel_digest)
    prove(site, pin.version, pin)
    return site
