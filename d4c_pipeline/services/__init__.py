"""HTTP services of a deployment: files and portal, and the protocols that machines read the catalogue by.

`file_server`, `portal_files`, `http_limits` and `nginx` serve files. `protocol` is the interface of a protocol,
`protocols` has a module for each, and packages beside it hold the work of one or several: `oai`, `cql2`, `discovery`
(search), `stac`, `records`, `subset`, `jobs`, `dap`. `catalogue_index` and `record_port` are what all of them read;
`access`, `signing`, `bodies` and `problems` stand before and after each request, `lanes` keeps costly ones from
delaying others.
"""
