"""Small tables for notebooks, all made in one way; whatever a file has named is shown as text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def html_table(
    title: str,
    rows: Iterable[Sequence[object]],
    head: Sequence[object] = (),
    notes: Iterable[str] = (),
) -> str:
    """Lay out a title, rows of cells and notes as HTML.

    Parameters
    ----------
    title : str
    rows : iterable of sequences
        The first cell of each is its heading.
    head : sequence, optional
        Headings of the columns.
    notes : iterable of str
        Sentences below the table.

    Returns
    -------
    str
        Everything that was passed is escaped.
    """

    def cells(row: Sequence[object]) -> str:
        first, *rest = (html.escape(str(cell)) for cell in row)
        body = "".join(f"<td>{cell}</td>" for cell in rest)
        return f'<tr><th scope="row" style="text-align: left">{first}</th>{body}</tr>'

    top = "".join(f'<th scope="col">{html.escape(str(cell))}</th>' for cell in head)
    body = "".join(cells(row) for row in rows)
    below = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return (
        f"<table><caption><b>{html.escape(title)}</b></caption>"
        f"{f'<thead><tr>{top}</tr></thead>' if top else ''}<tbody>{body}</tbody></table>{below}"
    )
