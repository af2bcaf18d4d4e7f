"""One HTML file that answers, shows and explains; it needs no network and runs no code."""

from pmnbmix.present.report.page import write_report

__all__ = ["write_report"]
