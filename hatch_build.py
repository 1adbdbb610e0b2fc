"""The build hook: takes the files of the wheel from `fork.tree`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface


ROOT = Path(__file__).resolve().parent
# A build frontend does not put the project on the path.
sys.path.insert(0, str(ROOT))
# Nothing is built for it, since `requires-python` refuses it.
IS_TOO_OLD = sys.version_info < (3, 10)


class ForkMetadataHook(MetadataHookInterface):
    """The version, and the dependencies: those of upstream."""

    def update(self, metadata: dict[str, Any]) -> None:
        if IS_TOO_OLD:
            metadata.update({"version": "0", "dependencies": []})
            return
        import importlib.metadata

        from fork.upstream import from_build_environment, read_pin

        pin = read_pin(ROOT)
        from_build_environment(pin)
        metadata["version"] = pin.fork_version
        metadata["dependencies"] = importlib.metadata.requires("equinox")


class ForkBuildHook(BuildHookInterface):
    """The package: upstream's files as edited, and ours."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if IS_TOO_OLD:
            return
        from fork.tree import renew_tree, write_tree
        from fork.upstream import from_build_environment, read_pin

        pin = read_pin(ROOT)
        site = from_build_environment(pin)
        if version == "editable":
            renew_tree(site, pin.version, ROOT / "build" / "tree")
        else:
            self.tmp = tempfile.TemporaryDirectory()
            write_tree(site, pin.version, Path(self.tmp.name))
            build_data["force_include"][f"{self.tmp.name}/equinox"] = "equinox"

    def finalize(self, version: str, build_data: dict[str, Any], artifact: str) -> None:
        if version != "editable" and not IS_TOO_OLD:
            self.tmp.cleanup()
