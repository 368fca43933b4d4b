"""What the measurements of language models share."""

import re
from pathlib import Path

import pytest


@pytest.fixture
def peak_memory():
    """Returns the most memory that a tuner's process has had so far, in GB."""

    def read(tuner):
        status = Path(f"/proc/{tuner._process.pid}/status").read_text()
        (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
        return int(kilobytes) / 1e6

    return read
