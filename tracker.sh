#!/bin/sh
# Runs opentracker in FOLDER (first argument) on PORT (second, 6969) and ADDRESS (third, all) and has it read
# FOLDER/whitelist again whenever that was replaced. It has no way of its own to notice, and lives in another container than the seeder that writes it.
set -eu
folder=$1
port=${2:-6969}
address=${3:-0.0.0.0}
mkdir -p "$folder"
cd "$folder"
[ -e whitelist ] || : >whitelist
opentracker -i "$address" -p "$port" -P "$port" -d "$folder" -w whitelist &
tracker=$!
trap 'kill "$tracker" 2>/dev/null || true; exit 0' INT TERM
seen=$(stat -c '%i %Y %s' whitelist)
while kill -0 "$tracker" 2>/dev/null; do
  sleep 1 &
  wait $!
  now=$(stat -c '%i %Y %s' whitelist 2>/dev/null || echo "$seen")
  if [ "$now" != "$seen" ]; then
    seen=$now
    kill -HUP "$tracker"
  fi
done
wait "$tracker"
