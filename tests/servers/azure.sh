#!/usr/bin/env bash
# Azure: a stateful Resource Manager and Entra ID token endpoint of our own, held to Microsoft's types and clients.
#   azure.sh install WORK | start WORK [PORT=8990] | stop WORK | wipe WORK
#
# What: nobody publishes a server. Microsoft's part: every request body and every answer must fit the types of armcompute 8.3,
#   armnetwork 9.0, armresources 1.2 (an unknown member or wrong type is 400), and `go test` in azure/ runs Microsoft's clients,
#   credential and long-running-operation pollers against it. (The typed fakes in those modules answer with a poller header of
#   their own, not with Resource Manager's, so they cannot stand behind HTTP.) Ours: states, times, codes, references.
# Each subscription is a world of its own. http on PORT+1 for tests that stand on the wire.
# Serves: tokens by secret, signed assertion, OIDC and managed identity; resource groups, virtual machines (start, powerOff, deallocate, restart, instanceView, $expand),
#   disks, images, galleries, availability sets, network interfaces, public addresses, networks, subnets, security groups; lists in
#   pages, /resources with $filter by tag; a small kinvolk marketplace (plan wanted) and Flatcar's community gallery; operations with
#   Azure-AsyncOperation, Location and Retry-After; deleteOption; load balancers with backend address pools, tags by themselves, sizes, usages,
#   terms of plans, states of machines by subscription, boot diagnostics, evictions, If-None-Match and If-Match.
# PUT /_control?subscription=ID {"seconds": {"create:microsoft.compute/virtualmachines": 2, "delete": 1}, "page": 50, "cores": 10, "full": ["1"], "faults": [{"match":
#   "PUT .*virtualMachines", "kind": "status|operation|reset|lost|delay", "status": 429, "code": "...", "retry_after": "2", "times": 1}]}
# Install: 60 s of Go build, 8 MB. Start: 0.5 s. Memory: 8 MB. Needs Go 1.26 and openssl.
# Not here: scale sets, api-version differences, signatures of assertions; enum values are not checked.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/lib.sh"
[ $# -ge 2 ] || usage
W=$(mkdir -p "$2" && cd "$2" && pwd); PORT=${3:-$(cat "$W/port" 2> /dev/null || echo 8990)}

install() {
  need go
  cd "$HERE/azure"
  GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$W/azuresim" .
}

start() {
  [ -x "$W/azuresim" ] || die "not installed: run install first"
  if ! alive azuresim; then
    free "$PORT" "$((PORT + 1))"; certs "$W/pki"; echo "$PORT" > "$W/port"
    spawn azuresim "$W/azuresim" -listen "127.0.0.1:$PORT" -plain "127.0.0.1:$((PORT + 1))" -cert "$W/pki/server.crt" -key "$W/pki/server.key"
    ready azuresim "$PORT" 30
  else
    PORT=$(cat "$W/port") # it runs already
  fi
  echo "export FLATCAR_AZURE=http://127.0.0.1:$((PORT + 1)) FLATCAR_AZURE_TLS=https://127.0.0.1:$PORT FLATCAR_AZURE_CA=$W/pki/ca.crt"
  echo "# tenant 22222222-2222-2222-2222-222222222222, client 33333333-3333-3333-3333-333333333333, secret secret, any subscription"
  echo "# times and faults: PUT https://127.0.0.1:$PORT/_control; DELETE empties everything"
}

case $1 in
  install) install ;;
  start) start ;;
  stop) end azuresim ;;
  wipe) end azuresim; rm -rf "$W/log" ;; # everything is in memory
  *) usage ;;
esac
