"""Reads pages strictly: what is opened is closed in its order, and everything that refers finds what it refers to."""

from html.parser import HTMLParser
from typing import NamedTuple

VOID = {"meta", "br", "hr", "col"}
PHRASING = {"a", "b", "bdi", "code", "data", "em", "span", "strong", "svg", "time"}
"""What may stand within a line, as far as our pages have it (HTML Living Standard, 3.2.5.2.5)."""
HOLDS = {
    **dict.fromkeys(("p", "h1", "h2", "h3", "a", "b", "bdi", "em", "span", "strong", "summary", "time"), PHRASING),
    **{key: set[str]() for key in ("code", "data", "title", "desc", "text", "style", "script")},
    "html": {"head", "body"}, "ul": {"li"}, "dl": {"div", "dt", "dd"}, "tr": {"th", "td"},
    "table": {"caption", "thead", "tbody", "tfoot"},
    **{key: {"tr"} for key in ("thead", "tbody", "tfoot")},
}  # fmt: skip
"""What may stand in an element, of those in which not everything may."""


class Tag(NamedTuple):
    name: str
    attributes: dict[str, str]
    path: tuple[str, ...]
    """The elements around it."""


class Cell(NamedTuple):
    text: str
    value: str | None
    """What its ``data`` is worth, exactly."""


class Page(HTMLParser):
    """One page, read from its beginning to its end. Raises AssertionError where it is not well formed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[Tag] = []
        self.texts: list[tuple[str, str]] = []
        """The element that a text stands in, and the text."""
        self._open: list[str] = []
        self._tables: dict[str, list[list[Cell]]] = {}
        self._rows: list[list[Cell]] | None = None
        self.doctypes: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_decl(self, decl: str) -> None:
        self.doctypes.append(decl)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        attributes = {name: value or "" for name, value in attrs}
        around = self._open[-1] if self._open else ""
        assert tag in HOLDS.get(around, {tag}), f"<{tag}> may not stand in <{around}>"
        assert not ("a" in self._open and tag in {"a", "button"}), f"<{tag}> may not stand in a link"
        assert " " not in attributes.get("id", ""), f"<{tag}> has an id with a space"
        self.tags.append(Tag(tag, attributes, tuple(self._open)))
        if tag in VOID:
            return
        self._open.append(tag)
        if tag == "table":
            self._rows = self._tables[attributes["id"]] = []
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in ("td", "th") and self._rows is not None:
            self._rows[-1].append(Cell("", None))
        elif tag == "data" and self._rows is not None:
            self._rows[-1][-1] = self._rows[-1][-1]._replace(value=attributes["value"])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self._open, f"<{tag}/> closes itself outside of SVG"
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1] == tag, f"</{tag}> closes <{self._open[-1]}>"
        self._open.pop()
        if tag == "table":
            self._rows = None

    def handle_data(self, data: str) -> None:
        assert self._open or not data.strip()
        if not self._open:
            return
        self.texts.append((self._open[-1], data))
        if self._rows is not None and {"td", "th"} & set(self._open):
            cell = self._rows[-1][-1]
            self._rows[-1][-1] = cell._replace(text=cell.text + data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data}")

    def named(self, *names: str) -> list[Tag]:
        return [tag for tag in self.tags if tag.name in names]

    def table(self, key: str) -> list[dict[str, Cell]]:
        """A table's rows by the headings of their columns, the foot among them."""
        heads, *rows = self._tables[key]
        assert all(len(row) == len(heads) for row in rows)
        return [dict(zip([head.text for head in heads], row, strict=True)) for row in rows]

    def key_figures(self) -> dict[str, str]:
        """The exact values of the key figures by their ids."""
        found: dict[str, str] = {}
        key = ""
        for tag in self.tags:
            if tag.name == "div" and tag.attributes.get("id", "").startswith("key-"):
                key = tag.attributes["id"].removeprefix("key-")
            elif tag.name == "data" and key and "dd" in tag.path:
                found.setdefault(key, tag.attributes["value"])
        return found

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """All elements with the names of their attributes: what no text may change."""
        return [(tag.name, tuple(tag.attributes)) for tag in self.tags]

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in self.texts)
