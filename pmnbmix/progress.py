"""A progress bar for work that takes long, and nothing where none is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called with (done, total).
Advance = Callable[[int, int], None]


@contextmanager
def progress_bar(title: str, enabled: bool) -> Iterator[Advance]:
    """Show a bar on standard error while the block runs.

    Parameters
    ----------
    title : str
    enabled : bool
        False gives a function that does nothing.

    Yields
    ------
    callable
        To be called with (done, total).
    """
    if not enabled:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    # where nobody watches, an erased bar leaves an empty line
    watched = console.is_terminal or console.is_jupyter
    with Progress(console=console, transient=True, disable=not watched) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
