"""OGC API Records: `requests` reads searches, `documents` makes what answers hold and describes the addresses.

Routes belong to `protocols.records`; what is found to `services.discovery`; the record to `metadata.records`.
Source: https://docs.ogc.org/is/20-004r1/20-004r1.html
"""
