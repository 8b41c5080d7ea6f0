"""OPeNDAP (DAP2) over published data: a table is a sequence. https://earthdata.nasa.gov/standards/data-access-protocol-2

`variables` gives the columns of a release their DAP2 types, `constraint` reads the expression of a request, `tables`
writes the three answers. `protocols.opendap` takes any object with the methods of `Served`, so that gridded releases
plug in beside tables. pydap's own writer of sequences is not used: it fails at texts that are not ASCII.
"""

from d4c_pipeline.services.dap.tables import Served, Table

__all__ = ["Served", "Table"]
