"""Opens items as QGIS does and prints a JSON list: validity, extent, reference system, types and attributes of each.

    /usr/bin/python3 read_by_qgis.py ADDRESS...

Debian's Python runs it, which has QGIS's bindings, and it imports nothing of the project. An address is a path, or
/vsicurl/ and a URL, as QGIS writes the sources of its layers.
"""

import json
import os
import sys
from typing import Any

from qgis.core import QgsApplication, QgsVectorLayer
from qgis.PyQt.QtCore import QDate

_NAMED = ("id", "dataset", "vintage", "version", "is_latest", "deprecated", "doi", "rows", "bytes", "title", "title_fr")


def read(address: str) -> dict[str, Any]:
    """Return what QGIS finds in a layer of one feature."""
    layer = QgsVectorLayer(address, "item", "ogr")
    if not layer.isValid():
        return {"error": layer.error().message()}
    extent = layer.extent()
    (feature,) = layer.getFeatures()
    return {
        "box": [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()],
        "crs": layer.crs().authid(),
        # A day is a QDate.
        "values": {name: _plain(feature[name]) for name in _NAMED},
        "urls": list(feature["data_urls"]),
    }


def _plain(value: Any) -> Any:
    return value.toString("yyyy-MM-dd") if isinstance(value, QDate) else value


QgsApplication.setPrefixPath("/usr", True)
application = QgsApplication([], False)
application.initQgis()
sys.stdout.write(json.dumps([read(address) for address in sys.argv[1:]]))
sys.stdout.flush()
os._exit(0)  # without a display Qt's own end crashes
