"""Which version this is."""

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("torch", "ray", "duckdb")


def line() -> str:
    """The versions of the package, of Python, and of what results may depend on; nothing is imported."""
    others = [f"{name} {_version(name)}" for name in _PACKAGES]
    return ", ".join([f"secateur {_version('secateur')}", f"Python {platform.python_version()}", *others])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
