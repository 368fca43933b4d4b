"""Files and folders with benchmarks' results that users may have: one file here a format."""

from pathlib import Path

from surrogates.errors import InputError
from surrogates.formats import nas_bench_201, nats_bench, tidy, trans_nas_bench_101
from surrogates.store import Source

_FORMATS = {
    nas_bench_201: "NAS-Bench-201's file (NAS-Bench-201-v1_1-096897.pth)",
    nats_bench: "NATS-Bench's folder or file of the topology space (NATS-tss-v1_0-3ffb9-simple)",
    trans_nas_bench_101: "TransNAS-Bench-101's file (transnas-bench_v10141024.pth)",
    tidy: "a tidy table (Parquet or CSV)",
}


def recognise(path: Path) -> Source:
    """Returns what a path is, told by its content, not by its name.

    Raises:
        InputError: There is nothing there, it is of no known format, or it is damaged.
    """
    understood = f"understood are {', '.join(list(_FORMATS.values())[:-1])}, and {list(_FORMATS.values())[-1]}"
    if not path.exists():
        raise InputError(f"there is no file or folder {path}; {understood}")
    try:
        for reader in _FORMATS:
            if source := reader.recognise(path):
                return source
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    raise InputError(f"{path} holds nothing that is understood; {understood}")
