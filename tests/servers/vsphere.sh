#!/usr/bin/env bash
# vSphere: govmomi's vCenter simulator, with VI/JSON and the modern Automation REST in front of it.
#   vsphere.sh install WORK | start WORK [PORT=8989] | stop WORK | wipe WORK
#
# What: VMware's govmomi 0.56.0 simulator (SOAP, /rest, state, rules, faults). It has no VI/JSON and no /api/session, tagging,
#   content or vm list under /api: vsphere/vijson.go and automation.go translate them to its SOAP and /rest. JSON is read and
#   written by govmomi's own types; `go test` there runs govmomi's own JSON client against it. 0.53 and 0.54 must not be used:
#   their CloneVM_Task drops spec.config (no guestinfo, no CPUs); mended in 0.55.
# Install: 63 s (busy), 2 s with a warm build cache; 26 MB. Start: 0.5 s. Memory: 34 MB. Needs Go 1.26 and openssl.
# One user (a wrong password is InvalidLogin, or 401 on /api). TLS by a certificate of our own that a strict client accepts.
# PUT /_control/faults [{"method": "CloneVM_Task", "fault": "InsufficientResourcesFault", "times": 1}] (any fault type), or
#   [{"match": "PowerOnVM", "kind": "status|reset|lost|delay", "status": 503, "retry_after": "1", "after": 0, "times": 1}];
#   PUT /_control/delays {"task": {"CloneVm": 2000, "PowerOn": 500}}; PUT /_control/guest {"name": "w1", "ip": "10.0.0.5"};
#   DELETE /_control/sessions ends all sessions.
# The layer refuses what is asked without a session, and gives each clone an address, as if its VMware Tools had come up.
# Not as the real one: clone ignores annotation, cores per socket and a cluster of datastores; extraConfig "" keeps an empty key; a fault has no
#   localized text; the codes of /api errors are ours; about 80 VI/JSON methods (vsphere/vijson.go), others are 404.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/lib.sh"
[ $# -ge 2 ] || usage
W=$(mkdir -p "$2" && cd "$2" && pwd); PORT=${3:-$(cat "$W/port" 2> /dev/null || echo 8989)}
USERNAME=administrator@vsphere.local PASSWORD=secret

install() {
  need go
  cd "$HERE/vsphere"
  GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$W/vcentersim" .
}

start() {
  [ -x "$W/vcentersim" ] || die "not installed: run install first"
  if ! alive vcentersim; then
    free "$PORT"; certs "$W/pki"; echo "$PORT" > "$W/port"
    spawn vcentersim "$W/vcentersim" -listen "127.0.0.1:$PORT" -cert "$W/pki/server.crt" -key "$W/pki/server.key" \
      -username "$USERNAME" -password "$PASSWORD" ${VSPHERE_FLAGS:-}
    ready vcentersim "$PORT" 30
  else
    PORT=$(cat "$W/port") # it runs already
  fi
  echo "export VSPHERE_SERVER=127.0.0.1:$PORT VSPHERE_USER=$USERNAME VSPHERE_PASSWORD=$PASSWORD"
  echo "export VSPHERE_CA_FILE=$W/pki/ca.crt"
  echo "# clients that take no file of an authority: SSL_CERT_FILE=$W/pki/ca.crt"
  echo "# faults: PUT/DELETE https://127.0.0.1:$PORT/_control/faults   task times: PUT /_control/delays   guest address: PUT /_control/guest"
}

case $1 in
  install) install ;;
  start) start ;;
  stop) end vcentersim ;;
  wipe) end vcentersim; rm -rf "$W/log" ;;
  *) usage ;;
esac
