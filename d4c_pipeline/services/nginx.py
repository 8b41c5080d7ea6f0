"""The configuration of nginx for serving a store like `d4c serve`, for a deployment with many readers.

`d4c serve` reaches 0.64 of nginx on one file and 0.39 on ranges, so Compose serves files by nginx. Media types, cache
lifetimes and the headers that protect the store's origin come from the tables of `headers`; the repository's
`nginx.conf` is the result of `configuration` for the containers. There are two differences: nginx does not detect the
charset of a native text, and does not name a file in Content-Disposition (browsers use the name in the address).
"""

from __future__ import annotations

from collections.abc import Iterable

from d4c_pipeline.files import media_types
from d4c_pipeline.metadata.records.linkset import FORMATS as LINKSETS
from d4c_pipeline.model.addresses import HIDDEN
from d4c_pipeline.portal import policy
from d4c_pipeline.services import http_limits
from d4c_pipeline.services.bodies import MOST_BYTES
from d4c_pipeline.services.file_server import READ_HEADERS, SHOWN_HEADERS
from d4c_pipeline.services.portal_files import CHANGING_ASSETS, FOLDERS, ICON_PATH
from d4c_pipeline.services.protocol import all_protocols
from d4c_pipeline.stores import headers
from d4c_pipeline.stores.port import IMMUTABLE_PREFIXES

_RELEASE = "/catalogue/$d4c_dataset/$d4c_vintage/$d4c_version"
# Only the characters of names, vintages and versions: an address may hold others, which no header may.
_PLACE = "/".join(f"(?<d4c_{name}>[0-9A-Za-z._+:-]+)" for name in ("dataset", "vintage", "version"))
_READ_SECONDS = 120  # of silence; the first byte of a large list may take a while
_LINKS = (
    f'<{_RELEASE}.json>; rel="describedby"; type="application/geo+json", '
    f'<{_RELEASE}/{LINKSETS[0].file_name}>; rel="linkset"; type="application/linkset+json"'
)


def configuration(*, store: str, records: str, portal: str, listen: str, scratch: str, services: str) -> str:
    """Return the text of an `nginx.conf`, which needs no privileges.

    `store`, `records`, `portal`: the folders of the store, of the local archive's records, and of the portal.
    `listen`: address and port.
    `scratch`: a folder that nginx may write to. `services`: address and port of the `d4c serve` for the protocols.
    """
    suffixes: dict[str, list[str]] = {}
    for suffix, kind in media_types.BY_SUFFIX.items():
        suffixes.setdefault(kind, []).append(suffix[1:])
    types = "\n".join(f"    {kind} {' '.join(sorted(names))};" for kind, names in sorted(suffixes.items()))
    active = [suffix[1:] for suffix in media_types.BY_SUFFIX if headers.is_active(f"x{suffix}")]
    folders = f"({'|'.join(FOLDERS)})"
    languages = f"({'|'.join(name for name in FOLDERS if name != 'assets')})"
    protocols = "|".join(sorted({name for each in all_protocols().values() for name in each.folders}))
    shown = [suffix[1:] for suffix in media_types.BY_SUFFIX if headers.is_shown(f"x{suffix}")]
    proxied = f"""\
      proxy_pass http://{services};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_buffering off; # a subset is a stream
      proxy_read_timeout {_READ_SECONDS}s;
      proxy_hide_header X-Content-Type-Options;
      add_header X-Content-Type-Options nosniff always; # and none of the headers above: a protocol has its own"""
    return f"""\
# Written by d4c_pipeline/services/nginx.py, which says why; a test keeps this file the same as what that returns.
daemon off;
worker_processes auto;
pid {scratch}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  server_tokens off;
  sendfile on;
  tcp_nopush on;
  gzip off; # a range of compressed bytes is of no use to anybody
  client_body_temp_path {scratch}/body;
  proxy_temp_path {scratch}/proxy;
  fastcgi_temp_path {scratch}/fastcgi;
  uwsgi_temp_path {scratch}/uwsgi;
  scgi_temp_path {scratch}/scgi;

  # Readers that stall are let go; a head has the size and the time that it has in d4c serve.
  client_header_timeout {http_limits.HEAD_SECONDS:.0f}s;
  client_body_timeout {http_limits.HEAD_SECONDS:.0f}s;
  client_max_body_size 1k;
  large_client_header_buffers 4 {http_limits.HEAD_BYTES >> 10}k;
  send_timeout {http_limits.WRITE_SECONDS:.0f}s;
  keepalive_timeout 15s;

  default_type {media_types.UNKNOWN};
  types {{
{types}
  }}
  charset utf-8; # text that we wrote
  charset_types text/plain text/markdown text/csv text/css text/javascript; # and text/html, always

  map $uri $d4c_cache {{
    default "{headers.MUTABLE_CACHE}";
    "~^/assets/({"|".join(name.replace(".", "[.]") for name in CHANGING_ASSETS)})$" "{policy.PAGE_CACHE}";
    "~^/assets/" "{headers.IMMUTABLE_CACHE}";
    "~^/({languages}/|index[.]html$)" "{policy.PAGE_CACHE}";
    {_below(IMMUTABLE_PREFIXES)} "{headers.IMMUTABLE_CACHE}";
  }}
  map $uri $d4c_policy {{
    default "";
    "~^/({folders}/|index[.]html$)" "{policy.HEADER}";
    {_below(headers.FOREIGN)} "{headers.SANDBOX}";
  }}
  # The links of a release's page that follow from its address; the linkset has the others (page_links).
  map $uri $d4c_links {{
    default "";
    "~^/{languages}/datasets/{_PLACE}/(index[.]html)?$" '{_LINKS}';
  }}
  map $uri $d4c_vary {{
    default "";
    "~^/{languages}/datasets/[^/]+/[^/]+/[^/]+/(index[.]html)?$" Accept;
  }}
  # The protocols answer a browser's questions about writing themselves.
  map "$request_method $uri" $d4c_preflight {{
    default 0;
    "~^OPTIONS /(?!({protocols})(/|$))" 1;
  }}
  # A page answers a client that accepts no HTML with a record of the release (protocols.releases).
  map $http_accept $d4c_without_page {{
    default 1;
    "" 0;
    "~*(text/(html|[*])|[*]/[*])" 0;
  }}
  # The first expression that matches decides: what is active in foreign bytes is saved, never shown.
  map $uri $d4c_disposition {{
    default attachment;
    "~^/({folders}/|index[.]html$)" "";
    {_below(headers.FOREIGN, f"[.]({'|'.join(active)})$")} attachment;
    "~*[.]({"|".join(shown)})$" inline;
    "~*{media_types.NAMES_OF_TEXT}$" inline;
  }}
  add_header Cache-Control $d4c_cache;
  add_header Content-Security-Policy $d4c_policy;
  add_header Content-Disposition $d4c_disposition;
  add_header X-Content-Type-Options nosniff;
  add_header Link $d4c_links;
  add_header Vary $d4c_vary;
  add_header Access-Control-Allow-Origin *;
  add_header Access-Control-Allow-Methods "GET, HEAD";
  add_header Access-Control-Allow-Headers "{", ".join(READ_HEADERS)}";
  add_header Access-Control-Expose-Headers "{", ".join(SHOWN_HEADERS)}";

  server {{
    listen {listen};
    root {store};
    index index.html;
    disable_symlinks on from=$document_root;
    error_page 403 =404 @nothing; # folders are not listed
    if ($d4c_preflight) {{ return 204; }}

    location @nothing {{ return 404; }}
    location ~ /[.] {{ return 404; }} # files that are being written
    location ~* ^/{HIDDEN.rstrip("/")}(/|$) {{ return 404; }} # releases that nobody approved yet
    location / {{
      location ~ "/{media_types.ITEM}$" {{ types {{}} default_type {media_types.GEOJSON}; }}
      location ~* "/{media_types.NAMES_OF_TEXT}$" {{ types {{}} default_type {media_types.TEXT}; }}
    }}
    location ~ "^/submission/[^/]+/(files|uploads)(/|$)" {{
      client_max_body_size 0; # d4c serve applies the quota
      proxy_request_buffering off; # what arrived before a broken connection counts
{proxied}
    }}
    location ~ "^/({protocols})(/|$)" {{
      client_max_body_size {MOST_BYTES >> 10}k;
{proxied}
    }}
    location = {ICON_PATH} {{
{proxied}
    }}
    location = / {{ root {portal}; try_files /index.html =404; }}
    location = /index.html {{ root {portal}; }}
    location ~ "^/(?<portal_folder>{folders})/" {{
      root {portal};
      absolute_redirect off;
      gzip on; # pages and scripts are read as a whole
      gzip_types text/css text/javascript application/json image/svg+xml;
      gzip_proxied any;
      gzip_min_length 1000;
      error_page 403 404 @portal_nothing;
      location ~ /[.] {{ return 404; }}
      location ~ "^/{languages}/datasets/[^/]+/[^/]+/[^/]+/$" {{
        if ($d4c_without_page) {{ rewrite ^/[a-z]+(/.*)/$ $1 last; }}
      }}
    }}
    location @portal_nothing {{ root {portal}; try_files /$portal_folder/404.html =404; }}
    location /processed/ {{ error_page 404 =410 $uri.withdrawn.txt; }} # the reason of a withdrawal, if there is one
    location /raw/ {{ charset off; }}
    location /archive/records/ {{
      alias {records}/;
      disable_symlinks on from={records};
    }}
  }}
}}
"""


def _below(prefixes: Iterable[str], ending: str = "") -> str:
    folders = "|".join(sorted(prefix.rstrip("/") for prefix in prefixes))
    return f'"~*^/({folders})/.*{ending}"' if ending else f'"~^/({folders})/"'
