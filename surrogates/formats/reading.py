"""What all readers of users' files share: damaged content is one error that names the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surrogates.errors import InputError


@contextmanager
def reading(path: Path, format_: str) -> Iterator[None]:
    """Turns whatever damaged content raises into one `InputError`.

    Args:
        path: The file that is read.
        format_: What it should be.

    Raises:
        InputError: The file cannot be read as that; the message says why.
    """
    try:
        yield
    # Damaged content can raise nearly anything, from EOFError to BadZipFile.
    except Exception as error:
        raise InputError(
            f"{path} cannot be read as {format_}: {error or type(error).__name__}; get it again from where it came"
        ) from error
