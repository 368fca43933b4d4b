import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Installs the example plugin beside this environment; returns variables that make Python see it."""
    source, target = tmp_path_factory.mktemp("plugin") / "source", tmp_path_factory.mktemp("installed")
    shutil.copytree(HERE.parent / "plugin", source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", target, source], check=True, capture_output=True)
    return {**os.environ, "PYTHONPATH": str(target)}


def test_a_method_of_another_package_is_listed(installed):
    command = [sys.executable, "-m", "nascent", "ls", "methods", "--json"]
    done = subprocess.run(command, env=installed, capture_output=True, text=True, check=True)
    assert '"first_improvement"' in done.stdout


def test_the_conformance_suite_runs_unchanged_on_it(installed):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        HERE / "test_methods.py",
        "-k",
        "first_improvement",
        "-rA",
    ]
    done = subprocess.run(command, env=installed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "[first_improvement" in done.stdout
    assert " passed" in done.stdout
