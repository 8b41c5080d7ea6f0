#!/bin/sh
# The S3 server of docker-compose.yml (profile `s3`): SeaweedFS, all of its parts in one process, in FOLDER (first argument).
# `d4c-s3 bucket` makes the bucket of a running server.
# Only the S3 port listens to other containers: the other parts ask for no credentials. There is one key, that of the secrets.
# Anybody else reads what a store makes public (docs/stores.md), so not hidden/, and lists nothing.
set -eu
bucket=d4c
if [ "$1" = bucket ]; then
  echo "s3.bucket.create -name $bucket" | weed shell -master=127.0.0.1:9333 -filer=127.0.0.1:8888
  exit
fi
folder=$1
key=$(cat "$D4C_STORE_ACCESS_KEY_FILE") && secret=$(cat "$D4C_STORE_SECRET_KEY_FILE") ||
  { echo "A key can't be read: make secrets/store_access_key and secrets/store_secret_key readable for user id $(id -u)" >&2; exit 1; }
for word in "$key" "$secret"; do
  case $word in
    "" | *[!A-Za-z0-9+/=_.-]*)
      echo "Empty, or not of letters, digits and + / = _ . - alone: fill secrets/store_access_key and secrets/store_secret_key" >&2
      exit 1 ;;
  esac
done
public=
for name in raw releases processed torrents snapshots catalogue; do public="$public${public:+, }\"Read:$bucket/$name/*\""; done
identities=${TMPDIR:-/tmp}/identities.json
umask 077
cat >"$identities" <<JSON
{"identities": [
  {"name": "d4c", "credentials": [{"accessKey": "$key", "secretKey": "$secret"}],
   "actions": ["Read:$bucket", "Write:$bucket", "List:$bucket"]},
  {"name": "anonymous", "actions": [$public]}]}
JSON
WEED_LEVELDB2_ENABLED=true WEED_LEVELDB2_DIR=$folder/filer exec weed server -dir="$folder" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
  -master.telemetry=false -master.volumeSizeLimitMB=1024 -volume.max=0 -filer \
  -s3 -s3.ip.bind=0.0.0.0 -s3.port=8333 -s3.config="$identities" \
  -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0 -s3.allowDeleteBucketNotEmpty=false
