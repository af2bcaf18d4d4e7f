"""Progress of work that takes long: a stage in words, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

# Such a function is called with a stage in words ("K=2: NUTS") and with (done, total) of it.
Watch = Callable[[str, int, int], None]
# Such a function is called with (done, total) of one stage.
Advance = Callable[[int, int], None]


def stage(watch: Watch | None, title: str) -> Advance | None:
    """Announce a stage, and return the function to report its progress to; None if nobody asks."""
    if watch is None:
        return None
    watch(title, 0, 1)
    return partial(watch, title)


@contextmanager
def watching(enabled: bool = True, unit: str = "") -> Iterator[Watch]:
    """Show stages and their progress on standard error while the block runs.

    Parameters
    ----------
    enabled : bool
        False gives a function that does nothing.
    unit : str
        What is counted; if given, the bar shows how many a second.

    Yields
    ------
    callable
        To be called with (title, done, total).
    """
    if not enabled:
        yield lambda title, done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task, TimeElapsedColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0.0:,.0f} {unit}/s")

    console = Console(stderr=True)
    # Without a terminal the erased bar would leave an empty line.
    watched = console.is_terminal or console.is_jupyter
    columns = [*Progress.get_default_columns(), Speed() if unit else TimeElapsedColumn()]
    with Progress(*columns, console=console, transient=True, disable=not watched) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda title, done, total: progress.update(
            task, description=title, completed=done, total=total
        )


@contextmanager
def progress_bar(title: str, enabled: bool, unit: str = "") -> Iterator[Advance]:
    """Show the progress of work that has one stage; see `watching`.

    Yields
    ------
    callable
        To be called with (done, total).
    """
    with watching(enabled, unit) as watch:
        yield partial(watch, title)
