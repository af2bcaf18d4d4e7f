"""A progress bar for work that takes long, and nothing where none is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called with (done, total).
Advance = Callable[[int, int], None]


@contextmanager
def progress_bar(title: str, enabled: bool, unit: str = "") -> Iterator[Advance]:
    """Show a bar on standard error while the block runs.

    Parameters
    ----------
    title : str
    enabled : bool
        False gives a function that does nothing.
    unit : str
        What is counted; where given, the bar shows how many a second.

    Yields
    ------
    callable
        To be called with (done, total).
    """
    if not enabled:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0.0:,.0f} {unit}/s")

    console = Console(stderr=True)
    # where nobody watches, an erased bar leaves an empty line
    watched = console.is_terminal or console.is_jupyter
    columns = [*Progress.get_default_columns(), *([Speed()] if unit else [])]
    with Progress(*columns, console=console, transient=True, disable=not watched) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
