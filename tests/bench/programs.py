# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The programs that are measured, built on demand."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from common import call, say

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def find_python():
    """One that has PyGObject, which a Python of one's own often has not."""
    for python in (sys.executable, "/usr/bin/python3"):
        run = subprocess.run([python, "-c", "import gi; gi.require_version"], stderr=subprocess.DEVNULL)
        if run.returncode == 0:
            return python
    return None


class Programs:
    """Where the programs are; built on demand. A peer that cannot be had is None, with a message."""

    def __init__(self, options, scratch):
        for program in ("qemu-img", "taskset", "meson", "ninja"):
            if shutil.which(program) is None:
                sys.exit(f"{program} is needed")
        self.build = self._build(options, scratch)
        self.bench = self.build / "tests" / "bench"
        self.imago = self.build / "tools" / "imago"
        self.crate = {
            feature: self._build_crate(feature, options, scratch) for feature in ("sync", "async")
        }
        self.cpu = sorted(os.sched_getaffinity(0))[-1]

    def _build(self, options, scratch):
        if options.build is not None:
            build = Path(options.build).resolve()
        else:
            build = scratch / "build"
            say("building the library")
            call(
                "meson",
                "setup",
                "-Dbench=true",
                "-Dtests=false",
                "-Dintrospection=auto",
                build,
                ROOT,
            )
        call("ninja", "-C", build, "all")
        if not (build / "tests" / "bench" / "bench-imago").exists():
            sys.exit(f"{build} was set up without -Dbench=true")
        return build

    def _build_crate(self, feature, options, scratch):
        if options.no_crate or shutil.which("cargo") is None:
            say(f"skipping the imago crate ({feature}): no cargo")
            return None
        # A copy, so that nothing is left in the source folder; the target folder may be kept.
        source = scratch / f"crate-{feature}"
        target = (
            Path(options.crate_target).resolve() / feature
            if options.crate_target
            else source / "target"
        )
        shutil.copytree(
            HERE / "crate", source, ignore=shutil.ignore_patterns("target", "Cargo.lock")
        )
        say(f"building the imago crate ({feature})")
        result = subprocess.run(
            [
                "cargo",
                "build",
                "--quiet",
                "--release",
                "--features",
                feature,
                "--target-dir",
                str(target),
            ],
            cwd=source,
        )
        if result.returncode != 0:
            say(f"skipping the imago crate ({feature}): cargo could not build it (no network?)")
            return None
        return target / "release" / "bench-crate"

    def pinned(self, program, *arguments):
        """On one processor: what is single-threaded should not migrate."""
        return ["taskset", "-c", str(self.cpu), str(program), *map(str, arguments)]

    def python(self, *arguments):
        """A script of this folder with the library in reach; None where that cannot be."""
        library = self.build / "imago-glib"
        python = find_python()
        if python is None:
            say("skipping Python: no PyGObject")
            return None
        if not (library / "Imago-1.0.typelib").exists():
            say("skipping Python: the build has no typelib")
            return None
        paths = {"GI_TYPELIB_PATH": library, "LD_LIBRARY_PATH": library, "PYTHONPATH": ROOT / "bindings" / "python"}
        variables = [f"{name}={path}" for name, path in paths.items()]
        return self.pinned("env", *variables, python, *arguments)

    def timed(self, *command):
        return [str(self.bench / "bench-run"), *map(str, command)]
