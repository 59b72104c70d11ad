#!/usr/bin/env bash
# Kubernetes: the real control plane on 127.0.0.1, with fake kubelets.
#   kube.sh install WORK | start WORK [PORT=36443] | stop WORK | wipe WORK
# PORT is the API server's https port; etcd takes PORT+1 and PORT+2, the controller manager PORT+3.
#
# What: kube-apiserver, controller manager, scheduler, kubectl, kubelet, kubeadm 1.37.2 and etcd 3.7.0 in one binary (kube/main.go); kwok 0.8.0
#   plays the kubelets of nodes annotated kwok.x-k8s.io/node=fake. All built from their Go modules; needs Go 1.26 and openssl.
# Install: 15 CPU minutes for kubebox, 2 for kwok, kept for the same sources; 29 s when the Go build cache has everything.
#   175 + 64 MB of binaries; 3.1 GB RSS at most while linking. Start: 3.9 s. Memory: 740 MB.
# A node or pod: a pod of a node that is not annotated stays as it is. pod-delete.stage.kwok.x-k8s.io/delay: "30s" on a pod makes
#   its end slow.
# AUDIT=1 at the start: every call is a line of WORK/audit.log, with who made it.
# Not here: packets, images, logs, exec, volumes; nobody sets machine addresses.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd); . "$HERE/lib.sh"
[ $# -ge 2 ] || usage
W=$(mkdir -p "$2" && cd "$2" && pwd); PORT=${3:-$(cat "$W/port" 2> /dev/null || echo 36443)}
VERSION=v1.37.2
PARTS=(kwok kube-scheduler kube-controller-manager kube-apiserver etcd)

install() {
  need go openssl
  # What was built of the same sources is kept.
  local wanted; wanted=$(echo "$VERSION" | cat - "$HERE"/kube/{main.go,go.mod,go.sum,pod-delete.yaml} "$HERE"/kube/kwok/* | sha256sum)
  [ "$wanted" != "$(cat "$W/installed" 2> /dev/null)" ] || return 0
  cd "$HERE/kube"
  local v=k8s.io/component-base/version c=k8s.io/client-go/pkg/version
  GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -trimpath -ldflags "-s -w
    -X $v.gitVersion=$VERSION -X $v.gitMajor=1 -X $v.gitMinor=37 -X $c.gitVersion=$VERSION -X $c.gitMajor=1 -X $c.gitMinor=37" -o "$W/kubebox" .
  cd kwok
  GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$W/kwok" sigs.k8s.io/kwok/cmd/kwok
  local stages; stages=$(GOFLAGS= go list -m -f '{{.Dir}}' sigs.k8s.io/kwok)/kustomize/stage
  { cat "$stages/node/fast/node-initialize.yaml"; echo ---; cat "$stages/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml"
    echo ---; cat "$stages/pod/fast/pod-ready.yaml"; echo ---; cat "$stages/pod/fast/pod-complete.yaml"; echo ---; cat "$HERE/kube/pod-delete.yaml"; } > "$W/stages.yaml"
  ln -sf kubebox "$W/kubectl"
  echo "$wanted" > "$W/installed"
}

start() {
  [ -x "$W/kubebox" ] || die "not installed: run install first"
  if running "${PARTS[@]}"; then PORT=$(cat "$W/port"); environment; return; fi
  stop; free "$PORT" $((PORT + 1)) $((PORT + 2)) $((PORT + 3))
  echo "$PORT" > "$W/port"; certs "$W/pki"
  local ca=$W/pki/ca.crt etcd=http://127.0.0.1:$((PORT + 1)) peer=http://127.0.0.1:$((PORT + 2))
  [ -e "$W/pki/sa.key" ] || openssl genrsa -out "$W/pki/sa.key" 2048 2> /dev/null
  printf '%s\n' 'admintoken,admin,1,"system:masters"' 'usertoken,plain,2,"nobody"' > "$W/pki/tokens.csv"
  cat > "$W/kubeconfig" <<Y
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$PORT", certificate-authority: "$ca"}}]
users: [{name: admin, user: {token: admintoken}}, {name: plain, user: {token: usertoken}}]
contexts: [{name: admin, context: {cluster: test, user: admin}}, {name: plain, context: {cluster: test, user: plain}}]
current-context: admin
Y
  local audit=()
  if [ -n "${AUDIT:-}" ]; then
    printf 'apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived, ResponseStarted]\nrules: [{level: Metadata}]\n' > "$W/audit.yaml"
    audit=(--audit-policy-file="$W/audit.yaml" --audit-log-path="$W/audit.log")
  fi
  spawn etcd "$W/kubebox" etcd --data-dir "$W/etcd" --listen-client-urls "$etcd" --advertise-client-urls "$etcd" --listen-peer-urls "$peer" \
    --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" --unsafe-no-fsync --log-level warn
  spawn kube-apiserver "$W/kubebox" kube-apiserver --etcd-servers="$etcd" --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --endpoint-reconciler-type=none --secure-port="$PORT" \
    --tls-cert-file="$W/pki/server.crt" --tls-private-key-file="$W/pki/server.key" --client-ca-file="$ca" --token-auth-file="$W/pki/tokens.csv" \
    --authorization-mode=Node,RBAC --enable-bootstrap-token-auth=true --allow-privileged=true --service-cluster-ip-range=10.96.0.0/16 \
    --service-account-key-file="$W/pki/sa.key" --service-account-signing-key-file="$W/pki/sa.key" --service-account-issuer=https://kubernetes.default.svc \
    --profiling=false ${audit[@]+"${audit[@]}"}
  ready etcd $((PORT + 1)) 30; ready kube-apiserver "$PORT" 60
  until_ok kube-apiserver 60 kubectl get --raw /readyz
  spawn kube-controller-manager "$W/kubebox" kube-controller-manager --kubeconfig="$W/kubeconfig" --bind-address=127.0.0.1 --secure-port=$((PORT + 3)) \
    --leader-elect=false --root-ca-file="$ca" --service-account-private-key-file="$W/pki/sa.key" --cluster-signing-cert-file="$ca" \
    --cluster-signing-key-file="$W/pki/ca.key" --controllers='*,bootstrapsigner,tokencleaner' --profiling=false
  spawn kube-scheduler "$W/kubebox" kube-scheduler --kubeconfig="$W/kubeconfig" --leader-elect=false --secure-port=0 --profiling=false
  spawn kwok "$W/kwok" --kubeconfig="$W/kubeconfig" --config="$W/stages.yaml" --node-lease-duration-seconds=40 \
    --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake
  ready kube-controller-manager $((PORT + 3)) 60
  until_ok kube-controller-manager 60 kubectl get serviceaccount default
  running "${PARTS[@]}" || die "a part ended while starting (see log/)"
  environment
}

kubectl() { "$W/kubebox" kubectl --kubeconfig "$W/kubeconfig" "$@" > /dev/null 2>&1; }
environment() { echo "export KUBECONFIG=$W/kubeconfig"; echo "# kubectl: $W/kubebox kubectl"; }
stop() { end "${PARTS[@]}"; }

case $1 in
  install) install ;;
  start) start ;;
  stop) stop ;;
  wipe) stop; rm -rf "$W/etcd" "$W/log" ;;
  *) usage ;;
esac
