"""The command line."""

from pmnbmix.present.cli.app import main

__all__ = ["main"]
