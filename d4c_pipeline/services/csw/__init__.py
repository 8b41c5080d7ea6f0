"""CSW 2.0.2 and 3.0 with OpenSearch: requests, filters, records, documents; `catalogue` answers.

The addresses belong to `services.protocols.csw`. Sources: OGC 07-006r1 and OGC 12-176r7 (CSW), OGC 04-095 and 09-026r2
(filters). pycsw's server is not used: it translates 8 of 15 valid filters rightly, and 2 of 12 texts in CQL, none of
them in CSW 3.0.
"""
