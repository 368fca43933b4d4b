"""Files that `torch.save` wrote, read without torch and piece by piece."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from surrogates.errors import InputError
from surrogates.streamed_pickle import DISCARDED, PLAIN, StandIn, StreamedPickle

_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PROTOCOL = 1001
_ZIP = b"PK\x03\x04"
_BLOCK = 1 << 20


def _stand_in(wanted: tuple[str, str]) -> StandIn | None:
    module, name = wanted
    if (module == "torch" and name.endswith("Storage")) or (module == "torch._utils" and name.startswith("_rebuild_")):
        return DISCARDED
    return PLAIN.get(wanted)


@contextmanager
def _content(path: Path) -> Iterator[IO[bytes]]:
    """Opens the stream in which the content's pickle lies: the legacy form, or the member of a zip archive."""
    with path.open("rb") as file:
        legacy = file.read(len(_LEGACY)) == _LEGACY
        if legacy:
            yield file
            return
    with zipfile.ZipFile(path) as archive:
        found = [m for m in archive.infolist() if m.filename.endswith("/data.pkl") and m.filename.count("/") == 1]
        # torch compresses nothing; what is compressed may be a bomb.
        if len(found) != 1 or found[0].compress_type != zipfile.ZIP_STORED or found[0].flag_bits & 1:
            raise InputError("the archive has no data.pkl as torch.save writes it")
        with archive.open(found[0]) as member:
            yield member


def is_torch_file(path: Path) -> bool:
    """Returns whether a file begins as one of the two forms that `torch.save` writes."""
    with path.open("rb") as file:
        return file.read(len(_LEGACY)).startswith((_LEGACY, _ZIP))


def first_bytes(path: Path) -> bytes:
    """Returns the first 64 KiB of the stream in which the content's pickle lies.

    Raises:
        InputError: It is no archive that `torch.save` wrote.
        zipfile.BadZipFile: The archive is damaged or cut short.
    """
    with _content(path) as file:
        return file.read(1 << 16)


def parts(path: Path, complete: Callable[[dict[Any, Any]], bool]) -> Iterator[tuple[Any, Any]]:
    """Yields parts of the content as soon as they are read, as `StreamedPickle.parts` does; tensors are discarded.

    Raises:
        InputError: The content is damaged, of another version, or holds what is refused.
        OSError, zipfile.BadZipFile: The file cannot be read, or is damaged.
    """
    with _content(path) as file:
        stream = StreamedPickle(file, _stand_in)
        if isinstance(file, zipfile.ZipExtFile):
            yield from stream.parts(complete)
            # The checksum is compared at the end.
            while file.read(_BLOCK):
                pass
            return
        protocol = stream.load()
        if protocol != _LEGACY_PROTOCOL:
            raise InputError(f"it has the version {protocol!r} of torch's format; expected {_LEGACY_PROTOCOL}")
        stream.load()
        yield from stream.parts(complete)
        if not isinstance(stream.load(), list):
            raise InputError("the list of its tensors is damaged")
