"""The command line."""

# This comes first, because what it sets is read when NumPy is imported.
from pmnbmix.present.cli.limits import spare_address_space

spare_address_space()

from pmnbmix.present.cli.app import main  # noqa: E402

__all__ = ["main"]
