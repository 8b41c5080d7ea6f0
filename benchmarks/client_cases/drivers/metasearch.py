"""Drive the dialog of QGIS's MetaSearch by its own widgets, for `client_cases.qgis`.

It runs in the system's Python with QGIS's plugins on its path. Argument: the address of a CSW. Prints a JSON object:
what the dialog shows after each step.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from types import SimpleNamespace
from typing import Any

from MetaSearch.dialogs import maindialog
from qgis.core import Qgis, QgsApplication, QgsSettings
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtWidgets import QDialog, QMessageBox

_NAME = "d4c"
_GLOBE = ("-180", "-90", "180", "90")
_CANADA, _AUSTRALIA = ("-142", "41", "-52", "84"), ("140", "-30", "150", "-20")


class Driver:
    """The dialog with one connection."""

    def __init__(self, address: str) -> None:
        self.warnings: list[str] = []
        self.opened: list[Any] = []
        QgsSettings().setValue(f"/MetaSearch/{_NAME}/url", address)
        QMessageBox.warning = lambda _parent, title, text: self.warnings.append(f"{title}: {text}")
        # Dialogs are modal: each is kept, and nobody waits for its end.
        QDialog.exec_ = lambda dialog: self.opened.append(dialog)  # noqa: PLW0108 - a method gets its dialog
        canvas = QgsMapCanvas()
        self.dialog = maindialog.MetaSearchDialog(SimpleNamespace(mapCanvas=lambda: canvas, mainWindow=lambda: None))
        self.dialog.populate_connection_list()
        for box in (self.dialog.cmbConnectionsSearch, self.dialog.cmbConnectionsServices):
            box.setCurrentIndex(box.findText(_NAME))

    def service(self) -> str:
        """Return the page of the service."""
        self.dialog.btnServerInfo.click()
        return _line(self.dialog.textMetadata)

    def search(self, words: str = "", box: tuple[str, ...] = _GLOBE) -> str:
        """Return what the dialog says of the results of a search."""
        sides = (self.dialog.leWest, self.dialog.leSouth, self.dialog.leEast, self.dialog.leNorth)
        for field, text in zip(sides, box, strict=True):
            field.setText(text)
        self.dialog.leKeywords.setText(words)
        self.dialog.btnSearch.click()
        return self.results()

    def results(self) -> str:
        """Return what the dialog says of the present page."""
        return self.dialog.lblResults.text()

    def pages(self) -> list[str]:
        """Return the lines of the first, the next and the last page of all results."""
        found = [self.search()]
        for button in (self.dialog.btnNext, self.dialog.btnLast):
            button.click()
            found.append(self.results())
        return found

    def record(self) -> tuple[str, str]:
        """Return the footprint of the first record on the map, and the page of the record."""
        self.dialog.treeRecords.setCurrentItem(self.dialog.treeRecords.topLevelItem(0))
        self.dialog.show_metadata()
        return self.dialog.rubber_band.asGeometry().boundingBox().toString(2), _line(self.opened[-1].textMetadata)


def _line(page: Any) -> str:
    return re.sub(r"\s+", " ", page.toPlainText())[:300]


def main() -> None:
    with tempfile.TemporaryDirectory() as profile:
        application = QgsApplication([], True, profile)
        application.initQgis()
        driver = Driver(sys.argv[1])
        seen = {
            "qgis": Qgis.QGIS_VERSION.partition("-")[0],
            "service": driver.service(),
            "words": {words: driver.search(words) for words in ("territories", "territoires", "nothing-of-this")},
            "boxes": {
                "Canada": driver.search(box=_CANADA),
                "Australia": driver.search(box=_AUSTRALIA),
                "both": driver.search("territoires", _CANADA),
            },
            "pages": driver.pages(),
            "record": driver.record(),
            "warnings": driver.warnings,
        }
        print(json.dumps(seen), flush=True)
    # Past the end of the interpreter, which takes QGIS's objects down in an order that crashes it.
    os._exit(0)


if __name__ == "__main__":
    main()
