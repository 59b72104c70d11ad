#!/usr/bin/env bash
# KubeVirt: its own definitions and its own controller, in a control plane of its own as kube.sh starts it, on 127.0.0.1.
#   kubevirt.sh install WORK | start WORK [PORT=37443] | stop WORK | wipe WORK
# PORT is the API server's https port; etcd takes PORT+1 and PORT+2, the controller manager PORT+3, virt-controller PORT+4.
#
# What: KubeVirt 1.8.0's 19 definitions and its virt-controller, unmodified (kubevirt/main.go); a stand-in of ours for virt-handler
#   (kubevirt/handler.go); one fake node that guests are placed on. Built from Go modules; needs Go 1.26 and openssl. The rest is
#   kube.sh's, which is installed beside WORK: WORK/../kube.
# Install: 5 CPU minutes beside kube.sh's own; 71 MB. Start: 7 to 11 s. Memory: 1.2 GB.
# On a machine's template the annotations test/boot-delay ("5s"), test/boot (never|fail) and test/stop-delay steer the guest.
# Not here: virt-api (nothing validates or defaults a machine beyond its schema; no start, stop, pause), CDI, packets, images, consoles.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/lib.sh"
[ $# -ge 2 ] || usage
W=$(mkdir -p "$2" && cd "$2" && pwd); PORT=${3:-$(cat "$W/port" 2> /dev/null || echo 37443)}
PARTS=(kubevirt-handler virt-controller)

install() {
  need go flock
  local kube; kube=$(dirname "$W")/kube
  mkdir -p "$kube"
  flock "$kube.lock" "$HERE/kube.sh" install "$kube"
  local part
  for part in kubebox kubectl kwok stages.yaml; do ln -sfn "$kube/$part" "$W/$part"; done
  # What was built of the same sources is kept.
  local wanted; wanted=$(cat "$HERE"/kubevirt/* | sha256sum)
  [ "$wanted" != "$(cat "$W/installed" 2> /dev/null)" ] || return 0
  cd "$HERE/kubevirt"
  GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$W/kubevirtbox" .
  "$W/kubevirtbox" crds > "$W/kubevirt-crds.json"
  echo "$wanted" > "$W/installed"
}

kubectl() { "$W/kubebox" kubectl --kubeconfig "$W/kubeconfig" "$@" >> "$W/log/kubectl.log" 2>&1; }

start() {
  [ -x "$W/kubevirtbox" ] || die "not installed: run install first"
  "$HERE/kube.sh" start "$W" "$PORT" > /dev/null
  if running "${PARTS[@]}"; then environment; return; fi
  end "${PARTS[@]}"; free $((PORT + 4))
  kubectl get crd virtualmachines.kubevirt.io || kubectl create -f "$W/kubevirt-crds.json" || die "KubeVirt's definitions were refused (log/kubectl.log)"
  until_ok kube-apiserver 30 kubectl get virtualmachines,virtualmachineinstances,kubevirts -A
  kubectl get namespace kubevirt || kubectl create namespace kubevirt
  kubectl apply -f "$HERE/kubevirt/kubevirt.yaml" || die "kubevirt.yaml was refused (log/kubectl.log)"
  kubectl apply --server-side --force-conflicts --subresource=status -f "$HERE/kubevirt/node.yaml" || die "node.yaml was refused (log/kubectl.log)"
  spawn virt-controller "$W/kubevirtbox" virt-controller --kubeconfig="$W/kubeconfig" --listen=127.0.0.1 --port=$((PORT + 4)) \
    --prom-cert-file="$W/pki/server.crt" --prom-key-file="$W/pki/server.key" --leader-elect-retry-period=1s
  spawn kubevirt-handler env KUBECONFIG="$W/kubeconfig" "$W/kubevirtbox" handler
  ready virt-controller $((PORT + 4)) 60
  running "${PARTS[@]}" || die "a part ended while starting (see log/)"
  environment
}

environment() { echo "export KUBEVIRT_KUBECONFIG=$W/kubeconfig"; }
stop() { end "${PARTS[@]}"; "$HERE/kube.sh" stop "$W"; }

case $1 in
  install) install ;;
  start) start ;;
  stop) stop ;;
  wipe) stop; "$HERE/kube.sh" wipe "$W" ;;
  *) usage ;;
esac
