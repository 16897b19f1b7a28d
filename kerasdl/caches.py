"""Where kerasdl keeps what it would take long to make again."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Returns a folder of `$KERASDL_CACHE`, else of the user's cache folder of the system; it may not exist yet.

    Args:
        kind: What is kept there: `"arrays"` or `"programs"`.
    """
    named = os.environ.get("KERASDL_CACHE")
    if named:
        return Path(named).expanduser().absolute() / kind
    import platformdirs

    return platformdirs.user_cache_path("kerasdl", appauthor=False) / kind
