"""Elements of XML as values and the document made of them: escaped, indented, with all namespaces at the root.

The elements of a standard belong to its module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

# Production [2] of XML 1.0: all other characters make a document ill-formed, even as references.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
_RETURN = {"\r": "&#13;"}
XSI = "http://www.w3.org/2001/XMLSchema-instance"


@dataclass(frozen=True, slots=True)
class Element:
    """An element: prefixed name, content (elements, or one text) and attributes in order."""

    name: str
    content: tuple[Element, ...] | str = ()
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


Content = Element | str | None | Sequence["Element | None"]


def legal(text: str) -> str:
    """Return a text with a space for each character that XML does not allow."""
    return _ILLEGAL.sub(" ", text)


def element(name: str, *content: Content, attributes: Mapping[str, str] | None = None) -> Element:
    """Return an element; None and empty lists of the content are left out. A text stands alone."""
    if len(content) == 1 and isinstance(content[0], str):
        return Element(name, legal(content[0]), attributes or {})
    return Element(name, tuple(_elements(content)), attributes or {})


def given(name: str, *content: Content, attributes: Mapping[str, str] | None = None) -> Element | None:
    """Return an element, None when all of its content is None or empty."""
    made = element(name, *content, attributes=attributes)
    return made if made.content and any(part is not None for part in content) else None


def _elements(content: Iterable[Content]) -> Iterable[Element]:
    for part in content:
        if isinstance(part, Element):
            yield part
        elif isinstance(part, str):
            raise TypeError("A text is the only content of an element")
        elif part is not None:
            yield from (each for each in part if each is not None)


def xml_document(root: Element, namespaces: Mapping[str, str]) -> bytes:
    """Return the document in UTF-8. `namespaces`: prefix -> URI; the empty prefix is the default namespace."""
    declared = {f"xmlns:{prefix}" if prefix else "xmlns": uri for prefix, uri in namespaces.items()}
    lines = [_DECLARATION]
    _write(Element(root.name, root.content, {**declared, **root.attributes}), "", lines)
    return ("\n".join(lines) + "\n").encode()


def _write(node: Element, indent: str, lines: list[str]) -> None:
    attributes = "".join(f" {name}={quoteattr(legal(value), _RETURN)}" for name, value in node.attributes.items())
    start = f"{indent}<{node.name}{attributes}"
    if not node.content:
        lines.append(f"{start}/>")
    elif isinstance(node.content, str):
        lines.append(f"{start}>{escape(node.content, _RETURN)}</{node.name}>")
    else:
        lines.append(f"{start}>")
        for child in node.content:
            _write(child, f"{indent}  ", lines)
        lines.append(f"{indent}</{node.name}>")
