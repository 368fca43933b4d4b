"""Where Nascent keeps what it can make again: converted tables, model weights, vLLM's environment."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Returns Nascent's folder: `$NASCENT_HOME`, or the user's cache folder of the operating system."""
    if home := os.environ.get("NASCENT_HOME"):
        return Path(home).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("nascent")
