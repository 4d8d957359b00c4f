"""Show pictures in the theme of the page, pictures side by side, and tables of claims on a phone.

The pages are plain Markdown and name only the light picture, `NAME.svg`. If `NAME-dark.svg` is beside it,
both are put into the page, and furo shows the one that fits its mode.
"""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

MARKS = {"✓", "✗"}


class Pictures(SphinxTransform):
    """Add the dark version of each picture, and mark paragraphs that consist of pictures."""

    default_priority = 200  # before Sphinx collects the files of pictures

    def apply(self) -> None:
        for paragraph in list(self.document.findall(nodes.paragraph)):
            pictures = [child for child in paragraph.children if isinstance(child, nodes.image)]
            others = [child for child in paragraph.children if child not in pictures]
            if pictures and not any(child.astext().strip() for child in others):
                paragraph["classes"].append("pictures" if len(pictures) > 1 else "picture")
        for light in list(self.document.findall(nodes.image)):
            uri = str(light["uri"])
            name = uri.removesuffix(".svg") + "-dark.svg"
            if not uri.endswith(".svg") or not self._file(name).is_file():
                continue
            dark = light.deepcopy()
            dark["uri"] = name
            dark["classes"].append("only-dark")
            light["classes"].append("only-light")
            light.parent.insert(light.parent.index(light) + 1, dark)

    def _file(self, uri: str) -> Path:
        return Path(self.env.relfn2path(uri, self.env.docname)[1])


class Claims(SphinxTransform):
    """Mark tables whose rows begin with ✓ or ✗."""

    default_priority = 200

    def apply(self) -> None:
        for table in self.document.findall(nodes.table):
            body = next(table.findall(nodes.tbody))
            first = {row.children[0].astext().strip() for row in body.findall(nodes.row)}
            if first and first <= MARKS:
                table["classes"].append("claims")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(Pictures)
    app.add_transform(Claims)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
