"""STAC API: `requests` reads searches, `documents` makes what answers hold, `openapi` describes the addresses.

Routes belong to `protocols.stac_api`; what is found to `services.discovery`.
Source: https://github.com/radiantearth/stac-api-spec (1.0.0)
"""
