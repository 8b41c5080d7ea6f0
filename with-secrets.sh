#!/bin/sh
# Runs a command with the secrets that only variables can carry, read from the files that NAME_FILE names, so that no
# secret stands in docker-compose.yml, in .env, or in what `docker inspect` shows. The archive's token needs none of this:
# D4C_ARCHIVE_TOKEN_FILE is a setting.
set -eu
for name in PGPASSWORD D4C_STORE_ACCESS_KEY D4C_STORE_SECRET_KEY; do
  eval "file=\${${name}_FILE:-}"
  [ -n "$file" ] || continue
  value=$(cat "$file") || { echo "The secret $name can't be read: make $file readable for user id $(id -u)" >&2; exit 1; }
  export "$name=$value"
done
exec "$@"
