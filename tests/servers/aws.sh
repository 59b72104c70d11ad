#!/usr/bin/env bash
# AWS: moto's EC2 and load balancing, with a layer that adds client tokens and what targets do, and microburst for faults.
#   aws.sh install WORK | start WORK [PORT=5500] | stop WORK | wipe WORK
# PORT is what tests use: the layer (aws/ec2rules.py). PORT+1 is moto itself, PORT+2 microburst in front of the layer.
#
# What: moto 5.2.5 (the newest; it still ignores ClientToken) and microburst 0.10.0, from PyPI. The layer is ours: same token and
#   parameters give the same instances, also 8 at once; other parameters are IdempotentParameterMismatch; user data over 16384
#   bytes is refused; the filter client-token works; MaxResults and NextToken are checked; PENDING=2, or PUT /_rules
#   {"pending": 2, "stopping": 1}, keeps new instances pending and ended ones shutting-down. Targets are initial for "healthy" seconds
#   and draining for their target group's delay (aws/elbrules.py). DELETE /_rules empties moto.
# Install: 44-52 s, 332 MB. Start: 1.5 s. Memory: moto 205 MB after use, layer 21 MB, microburst 49 MB.
# Not here: MinCount 2 MaxCount 5 starts 2; spot capacity; quotas; signatures are not checked; no TLS; the images are made up
#   (aws/amis.json); moto's own answer to an unknown filter is 500.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/lib.sh"
[ $# -ge 2 ] || usage
W=$(mkdir -p "$2" && cd "$2" && pwd); PORT=${3:-$(cat "$W/port" 2> /dev/null || echo 5500)}
PARTS=(microburst ec2rules moto)
WANTED=('moto[ec2,elbv2,server]==5.2.5' microburst==0.10.0)

install() {
  need python3
  # What was installed for the same list is kept.
  local wanted; wanted="${WANTED[*]} $(python)"
  [ "$wanted" != "$(cat "$W/installed" 2> /dev/null)" ] || [ ! -x "$W/venv/bin/moto_server" ] || return 0
  rm -rf "$W/venv"; "$(python)" -m venv "$W/venv"
  "$W/venv/bin/pip" install -q "${WANTED[@]}"
  echo "$wanted" > "$W/installed"
}

start() {
  [ -x "$W/venv/bin/moto_server" ] || die "not installed: run install first"
  if ! running "${PARTS[@]}"; then
    stop; free "$PORT" $((PORT + 1)) $((PORT + 2)); echo "$PORT" > "$W/port"
    spawn moto env MOTO_AMIS_PATH="$HERE/aws/amis.json" MOTO_ENABLE_AMI_VALIDATION=1 MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION=1 \
      "$W/venv/bin/moto_server" -H 127.0.0.1 -p $((PORT + 1))
    spawn ec2rules "$W/venv/bin/python" -B "$HERE/aws/ec2rules.py" $((PORT + 1)) "$PORT" "${PENDING:-0}"
    spawn microburst "$W/venv/bin/microburst" --host 127.0.0.1 --upstream "http://127.0.0.1:$PORT" --port $((PORT + 2))
    ready moto $((PORT + 1)) 30; ready ec2rules "$PORT" 10; ready microburst $((PORT + 2)) 30
  else
    PORT=$(cat "$W/port") # it runs already
  fi
  # for STS too, which says whose account it is
  echo "export AWS_ENDPOINT_URL=http://127.0.0.1:$PORT AWS_ENDPOINT_URL_EC2=http://127.0.0.1:$PORT"
  echo "# with faults: AWS_ENDPOINT_URL=http://127.0.0.1:$((PORT + 2)) and /_microburst/rules there"
}

stop() { end "${PARTS[@]}"; }

case $1 in
  install) install ;;
  start) start ;;
  stop) stop ;;
  wipe) stop; rm -rf "$W/log" ;; # moto keeps everything in memory
  *) usage ;;
esac
