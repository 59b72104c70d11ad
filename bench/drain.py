#!/usr/bin/env python3
"""Empties ten Nodes of thirty pods each, by `flatcar_node_drain` and by `kubectl drain`, and counts what each asks of the API server.

drain.py PROVIDER CORE     under `AUDIT=1 tests/servers/with kube --`: the API server, its controllers and the scheduler are Kubernetes' own, kubelets
are played by kwok. A pod takes GRACE seconds to end. Calls are those of the API server's own audit log.
"""
import collections, json, os, pathlib, subprocess, sys, tempfile, time

NODES, PODS, GRACE = 10, 30, 5
work = pathlib.Path(os.environ["KUBECONFIG"]).parent
environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}


def kubectl(*arguments, text=None, check=True):
    done = subprocess.run([work / "kubebox", "kubectl", *arguments], input=text, text=True, capture_output=True, env=environment)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def node(name):
    labels = {"kubernetes.io/hostname": name, "pool": name.split("-")[0]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}}


def web():
    labels = {"app": "web"}
    pod = {
        "metadata": {"labels": labels, "annotations": {"pod-delete.stage.kwok.x-k8s.io/delay": f"{GRACE}s"}},
        "spec": {
            "nodeSelector": {"pool": "old"},
            "containers": [{"name": "web", "image": "web"}],
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": labels}}
            ],
        },
    }
    spec = {"replicas": NODES * PODS, "selector": {"matchLabels": labels}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def apply(*objects):
    kubectl("apply", "-f", "-", text="\n---\n".join(json.dumps(one) for one in objects))


def pods_on_old():
    pods = json.loads(kubectl("get", "pods", "-o", "json"))["items"]
    return [pod for pod in pods if pod["spec"].get("nodeName", "").startswith("old") and pod["status"]["phase"] == "Running"]


def until(what, is_so, seconds=300):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.5)


def calls(agent):
    """By verb and what is asked for, of the lines that have been written since the last question."""
    lines = (work / "audit.log").read_text().splitlines()
    new, calls.seen = lines[calls.seen :], len(lines)
    counts = collections.Counter()
    for line in new:
        event = json.loads(line)
        if agent in event.get("userAgent", ""):
            of = event.get("objectRef", {})
            what = "/".join(part for part in (of.get("resource"), of.get("subresource")) if part) or event["requestURI"].split("?")[0]
            counts[f"{event['verb']} {what}"] += 1
    return counts


calls.seen = 0


def measure(name, agent, empty, undo):
    until("all pods run", lambda: len(pods_on_old()) == NODES * PODS)
    calls(agent)
    began = time.monotonic()
    empty()
    took = time.monotonic() - began
    assert not pods_on_old(), "pods are left"
    time.sleep(1)  # the log is written a little later
    counts = calls(agent)
    total = sum(counts.values())
    undo()
    listed = ", ".join(f"{what} {count}" for what, count in sorted(counts.items()))
    return f"| {name} | {took:.1f} s | {total} | {total / NODES:.1f} |", f"* {name}: {listed}"


def main(provider, core):
    apply(*(node(f"old-{number}") for number in range(NODES)))
    until("Nodes are Ready", lambda: kubectl("get", "nodes").count(" Ready ") == NODES)
    apply(web())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "bin").mkdir()
        (folder / "bin/terraform-provider-flatcar").symlink_to(provider)
        (folder / "rc").write_text('provider_installation {\n dev_overrides { "flatcar-iac/flatcar" = "%s" }\n direct {}\n}\n' % (folder / "bin"))
        (folder / "main.tf").write_text(
            """
variable "drained" { type = bool }
variable "parallelism" { type = number }
terraform {
  required_providers {
    flatcar = { source = "flatcar-iac/flatcar" }
  }
}
provider "flatcar" {
  kubernetes = { config_path = "%s" }
}
resource "flatcar_node_drain" "old" {
  selector    = "pool=old"
  drained     = var.drained
  parallelism = var.parallelism
  on_destroy  = "uncordon"
}
"""
            % os.environ["KUBECONFIG"]
        )
        terraform = environment | {"TF_CLI_CONFIG_FILE": str(folder / "rc"), "CHECKPOINT_DISABLE": "1"}

        def run(drained, parallelism):
            arguments = [core, "apply", "-auto-approve", "-no-color", f"-var=drained={drained}", f"-var=parallelism={parallelism}"]
            done = subprocess.run(arguments, cwd=folder, env=terraform, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr

        names = [f"old-{number}" for number in range(NODES)]
        rows = []
        for parallelism in (NODES, 1):
            run("false", parallelism)
            row = measure(
                f"`flatcar_node_drain`, `parallelism = {parallelism}`",
                "terraform-provider-flatcar",
                lambda: run("true", parallelism),
                lambda: run("false", parallelism),
            )
            rows.append(row)
        rows.append(
            measure(
                "`kubectl drain` of all Nodes",
                "kubectl",
                lambda: kubectl("drain", *names, "--ignore-daemonsets", "--delete-emptydir-data"),
                lambda: kubectl("uncordon", *names),
            )
        )
    print(f"| {NODES} Nodes of {PODS} pods, each of which takes {GRACE} s to end | wall | calls | calls per Node |")
    print("|---|---|---|---|")
    print("\n".join(row for row, _ in rows))
    print()
    print("\n".join(listed for _, listed in rows))


main(*sys.argv[1:])
