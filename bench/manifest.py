"""The manifest of a study: what ran it, on what, from which code and data."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.study import Run, Study
from surrogates.errors import InputError

PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "matplotlib", "openai", "analog-nasbench", "nas-bench-graph",
            "torch", "botorch", "gpytorch", "optuna", "scikit-learn")  # fmt: skip


def session(command: Sequence[str]) -> dict[str, object]:
    """Returns what runs now: command, time, code and machine."""
    return {
        "command": list(command),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "nascent": version("nascent"),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "gpus": _lines("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def write(path: Path, study: Study, runs: Sequence[Run], command: Sequence[str] = sys.argv) -> None:
    """Writes the manifest of a study, or adds this session, and what it runs, to the one that is there.

    Args:
        path: The JSON file.
        study: The study.
        runs: Its runs.
        command: The command line.

    Raises:
        InputError: It cannot be written.
    """
    known: dict[str, Any] = {"methods": {}, "benchmarks": {}, "models": {}, "sessions": []}
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            known = {name: type(none)(found.get(name, none)) for name, none in known.items()}
        except (ValueError, TypeError, AttributeError):
            pass  # a damaged manifest says nothing that the journal does not hold; it is written anew
    used = {run.benchmark.name: run.benchmark for run in runs}
    benchmarks = {b.name: {"version": b.version, "kind": b.kind, "data": b.checksum} for b in used.values()}
    models = {run.model.name: run.model.model_dump(mode="json") for run in runs if run.model}
    asked = {"runs": len(runs), "seeds": len({run.seed for run in runs})}
    manifest = {
        "study": study.name,
        "title": study.title,
        "methods": known["methods"] | {run.method.name: run.method.version for run in runs},
        "benchmarks": known["benchmarks"] | benchmarks,
        "models": known["models"] | models,
        "sessions": [*known["sessions"], session(command) | asked],
    }
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written ({error.strerror}); move it away or give another --out") from error


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _lines(*command: str, cwd: Path | None = None) -> list[str]:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()


def _commit() -> str | None:
    """Returns the commit of Nascent's own checkout, with "+changes" where the tree differs from it."""
    here = Path(__file__).parent.parent
    if not (here / ".git").exists():
        return None
    head = _lines("git", "rev-parse", "HEAD", cwd=here)
    changed = _lines("git", "status", "--porcelain", "--untracked-files=no", cwd=here)
    return head[0] + ("+changes" if changed else "") if head else None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None
