#!/usr/bin/env bash
# Shows a group of workers that are Nodes of a real API server: joined, rolled past a PodDisruptionBudget, drained, destroyed.
# `make demo-kubernetes`, or `tests/servers/with kube -- examples/kubernetes/demo.sh`. Machines are the sandbox's, and kwok plays their kubelets.
# DEMO_CORE=/path/to/tofu chooses the core, DEMO_PROVIDER=/path shows a provider that is built already. Works in a scratch folder; of the cluster it takes
# back what it has made.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../tests/demo.sh"
# Nodes are made up here: no other cluster than that of kube.sh.
case " ${FLATCAR_SERVERS:-} " in *" kube "*) ;; *) die "there is no API server: make demo-kubernetes starts one" ;; esac
demonstrate "$here" "terraform 1.11 or tofu 1.11"
kubectl() { "$(dirname "$KUBECONFIG")/kubebox" kubectl "$@"; }
variables=(-var "kubeconfig=$KUBECONFIG")

# Each machine that runs registers its Node, as its kubelet would; once.
mkdir "$work/registered"
kubelets() {
  local file name
  while sleep 0.2; do
    for file in .flatcar-sandbox/machines/*.json; do
      name=$(basename "$file" .json)
      [ -e "$file" ] && [ ! -e "$work/registered/$name" ] || continue
      touch "$work/registered/$name"
      kubectl create -f - > /dev/null << NODE || true
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "$name", "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"kubernetes.io/hostname": "$name"}}}
NODE
    done
  done
}
kubelets 2> "$work/kubelets.log" &
played=$!
finish() {
  kill "$played" 2> /dev/null || true
  wait "$played" 2> /dev/null || true
  kubectl delete namespace demo --ignore-not-found --timeout=120s > /dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

nodes() {
  command_line "kubectl get nodes"
  kubectl get nodes --no-headers -o custom-columns='N:.metadata.name,P:.metadata.labels.pool,R:.status.conditions[?(@.type=="Ready")].status,U:.spec.unschedulable' |
    awk '{ printf "    %s  pool=%s  %s%s\n", $1, $2, $3 == "True" ? "Ready" : "NotReady", $4 == "true" ? ", cordoned" : "" }'
}
pods() {
  command_line "kubectl -n demo get pods"
  kubectl -n demo get pods --no-headers -o custom-columns='N:.spec.nodeName,P:.status.phase' |
    awk '{ n[$1 == "<none>" ? "nowhere" : $1]++ } END { for (i in n) printf "    %s: %s pods of web\n", i, n[i] }' | sort
}
# What the provider says of its drains in the log.
export TF_LOG_PROVIDER=info TF_LOG_PATH=$work/provider.log
drains() {
  printf '  from the log (TF_LOG_PROVIDER=info):\n'
  # How many pods are left of each machine, whenever that is another number, or a budget is first named.
  grep 'drains a machine: ' "$TF_LOG_PATH" | awk '
    function field(name) { return match($0, "(^| )" name "=(\"[^\"]*\"|[^ ]*)") ? substr($0, RSTART, RLENGTH) : "" }
    {
      machine = field("machine"); sub(/^.*machine=/, "", machine)
      pods = field("pods_left"); sub(/^.*pods_left=/, "", pods)
      left = field("left"); sub(/^ ?left=/, "", left); gsub(/"|demo\/web-[0-9a-f]*-/, "", left)
      named = left ~ /budget/
      if (pods == 0 || (last[machine] == pods && (!named || known[machine]))) next
      last[machine] = pods; known[machine] = named
      printf "    %s: %s pod%s left: %s\n", machine, pods, pods == 1 ? "" : "s", left
    }'
  : > "$TF_LOG_PATH"
}
all_run() { kubectl -n demo rollout status deployment/web --timeout=60s > /dev/null; }

say "1. Three machines: done when three Nodes are Ready"
core apply -auto-approve
nodes
say "2. Nine pods move in, and a budget lets one of them be away at a time"
command_line "kubectl apply -f web.yaml"
kubectl apply -f web.yaml | sed 's/^/    /'
all_run
pods
: > "$TF_LOG_PATH"
say "3. A newer image: machines roll one by one, each drained past the budget before it goes"
variables+=(-var image=flatcar-4593.2.5)
core plan
core apply -auto-approve
drains
all_run
nodes
pods
say "4. Two instead of three: the one that goes is drained first"
variables+=(-var replicas=2)
core plan
core apply -auto-approve
drains
all_run
nodes
pods
say "5. Everything is destroyed: nowhere to go for the pods, so they are deleted once the time for the drain is over"
core destroy -auto-approve
drains
left=$(kubectl get nodes --no-headers 2> /dev/null | wc -l | tr -d ' ')
tokens=$(kubectl -n kube-system get secrets --field-selector type=bootstrap.kubernetes.io/token --no-headers 2> /dev/null | wc -l | tr -d ' ')
printf '  left: %s machines, %s Nodes, %s bootstrap tokens\n' "$(machines)" "$left" "$tokens"
[ "$(machines) $left $tokens" = "0 0 0" ] || die "something was left behind"
printf '\n%sDone in %s seconds after the build.%s\n' "$bold" "$((SECONDS - began))" "$off"
