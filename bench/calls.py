#!/usr/bin/env python3
"""How many API calls the life of a machine takes: create and wait, refresh, delete; of N machines in one group.

    calls.py --core terraform --scripts FOLDER [--peer PROVIDER] OURS

FOLDER has apicount.py, plan.py and rusage_wrap.c (bench/run copies them there). EC2's stand-in is measured when AWS_ENDPOINT_URL_EC2 is set, OpenStack's
services when OS_AUTH_URL is, Compute Engine's stand-in when GCP_PLAIN_ENDPOINT is, Azure's when FLATCAR_AZURE is
(tests/servers/with aws azure gcp openstack). --peer is a binary of terraform-provider-openstack: its
openstack_compute_instance_v2 with `count = N` is then measured on the same services, in the same way.
"""
import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import ThreadingHTTPServer

import group

PORT = 36999
# Machines of the group and what belongs to them; operations.
NAME = re.compile(r"(?<=/)(?:bench-[a-z0-9]{8}-\d+|operation-[0-9a-f-]+)")
OPENSTACK = ('openstack = { auth_url = "%s" }', '"flatcar-stable"', 'openstack = { flavor_name = "small", networks = [{ name = "workers" }] }')
GCP = ('gcp = { project = "test-project", access_token = "test-token", endpoint = "%s" }', '"projects/kinvolk-public/global/images/flatcar-stable-4230-2-4"',
       'gcp = { zones = ["europe-west3-a", "europe-west3-b"], machine_type = "e2-small" }')
SUBSCRIPTION = "00000000-0000-4000-8000-000000000042"
RESOURCES = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/bench"
AZURE = (f'azure = {{ subscription_id = "{SUBSCRIPTION}", tenant_id = "22222222-2222-2222-2222-222222222222", '
         'client_id = "33333333-3333-3333-3333-333333333333", client_secret = "secret", '
         'resource_manager_endpoint = "%s", authority_host = "%s" }',
         '"kinvolk:flatcar-container-linux-corevm-amd64:stable-gen2:4230.2.4"',
         'azure = { resource_group_name = "bench", location = "westeurope", vm_size = "Standard_D2s_v5", '
         f'subnet_id = "{RESOURCES}/providers/Microsoft.Network/virtualNetworks/net/subnets/workers" }}')
PEER = """terraform {
  required_providers {
    openstack = { source = "terraform-provider-openstack/openstack" }
  }
}
resource "openstack_compute_instance_v2" "bench" {
  count       = %d
  name        = "bench-${count.index}"
  image_name  = "flatcar-stable"
  flavor_name = "small"
  user_data   = "x"
  network { name = "workers" }
}
"""


def ask(method, path):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", method=method), timeout=60) as answer:
        return json.loads(answer.read())


def furnish(endpoint):
    """A resource group and a network in an Azure of its own."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def put(path, body):
        answer = opener.open(urllib.request.Request(endpoint + path, json.dumps(body).encode(), headers, method="PUT"), timeout=60)
        return answer.read()
    login = f"client_id=33333333-3333-3333-3333-333333333333&client_secret=secret&grant_type=client_credentials&scope={endpoint}/.default"
    token = opener.open(f"{endpoint}/22222222-2222-2222-2222-222222222222/oauth2/v2.0/token", login.encode(), timeout=60).read()
    headers = {"Authorization": "Bearer " + json.loads(token)["access_token"], "Content-Type": "application/json"}
    put(f"{RESOURCES}?api-version=2021-04-01", {"location": "westeurope"})
    put(f"{RESOURCES}/providers/Microsoft.Network/virtualNetworks/net?api-version=2024-05-01", {"location": "westeurope", "properties": {
        "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": [{"name": "workers", "properties": {"addressPrefix": "10.0.0.0/16"}}]}})
    put(f"/_control?subscription={SUBSCRIPTION}", {"cores": 100000})


def life(run, count, who, n):
    """Runs it, and prints a row. `count` answers the calls since it was asked last."""
    calls = []
    count()
    for words in (["apply", "-auto-approve"], ["plan"], ["plan"], ["destroy", "-auto-approve"]):
        run(*words)
        calls.append(count())
    create, first, refresh, delete = (sum(c.values()) for c in calls)
    # destroy refreshes first.
    delete = max(delete - refresh, 0)
    print(f"| {who} | {n} | {create} | {first} | {refresh} | {delete} | {(create + delete) / n:.2f} |", flush=True)
    parts = zip(("create and wait", "first refresh", "refresh", "refresh and delete"), calls)
    return [f"{who}, {what}: " + ", ".join(f"{k} {v}" for k, v in sorted(c.items())) for what, c in parts]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--core", default="terraform")
    ap.add_argument("--scripts", required=True)
    ap.add_argument("--peer")
    ap.add_argument("--machines", type=int, default=20)
    ap.add_argument("provider")
    a = ap.parse_args()
    sys.path.insert(0, a.scripts)
    import plan
    core, provider, root = shutil.which(a.core) or sys.exit(f"no {a.core}"), os.path.abspath(a.provider), tempfile.mkdtemp(prefix="calls-bench-")
    details, proxy = [], None
    print("| what | machines | create and wait | first refresh | refresh | delete | create + wait + delete, per machine |\n|---|---|---|---|---|---|---|")
    try:
        upstream = os.environ.get("AWS_ENDPOINT_URL_EC2")
        if upstream:
            server = ThreadingHTTPServer(("127.0.0.1", 0), group.Proxy)
            server.upstream = int(upstream.rsplit(":", 1)[1])
            threading.Thread(target=server.serve_forever, daemon=True).start()

            def taken():
                with group.lock:
                    calls = dict(group.counts)
                    group.counts.clear()
                return calls
            ours = group.Group(plan, core, provider, root, "aws", a.machines, f"http://127.0.0.1:{server.server_port}")
            details += life(ours.run, taken, "`flatcar_worker_group` on EC2's stand-in", a.machines)
        auth, google, azure = (os.environ.get(name) for name in ("OS_AUTH_URL", "GCP_PLAIN_ENDPOINT", "FLATCAR_AZURE"))
        if auth or google or azure:
            proxy = subprocess.Popen([sys.executable, os.path.join(a.scripts, "apicount.py"), "--port", str(PORT)])
            time.sleep(1)

        def counted():
            calls = collections.Counter()
            for call, times in ask("GET", "/_count")["calls"].items():
                calls[NAME.sub("{name}", call)] += times
            ask("POST", "/_reset")
            return calls
        if google:
            group.CLOUDS["gcp"] = (GCP[0] % f"http://127.0.0.1:{PORT}/{google.rsplit(':', 1)[1]}/compute/v1/", *GCP[1:])
            ours = group.Group(plan, core, provider, root, "gcp", a.machines)
            details += life(ours.run, counted, "`flatcar_worker_group` on Compute Engine's stand-in", a.machines)
        if azure:
            furnish(azure)
            through = f"http://127.0.0.1:{PORT}/{azure.rsplit(':', 1)[1]}"
            group.CLOUDS["azure"] = (AZURE[0] % (through, through), *AZURE[1:])
            ours = group.Group(plan, core, provider, root, "azure", a.machines)
            details += life(ours.run, counted, "`flatcar_worker_group` on Azure's stand-in", a.machines)
        if auth:
            port, path = auth.split("//127.0.0.1:")[1].split("/", 1)
            through = f"http://127.0.0.1:{PORT}/{port}/{path}"
            group.CLOUDS["openstack"] = (OPENSTACK[0] % through, *OPENSTACK[1:])
            ours = group.Group(plan, core, provider, root, "openstack", a.machines)
            ours.env.update({k: v for k, v in os.environ.items() if k.startswith("OS_") and k != "OS_AUTH_URL"})
            details += life(ours.run, counted, "`flatcar_worker_group` on OpenStack", a.machines)
            if a.peer:
                details += life(peer(a.peer, ours, root, through, a.machines), counted, "`openstack_compute_instance_v2`", a.machines)
        print("\n" + "\n".join(f"* {line}" for line in details))
    finally:
        if proxy:
            proxy.terminate()
        shutil.rmtree(root, ignore_errors=True)


def peer(binary, ours, root, auth, n):
    """Runs the core over the other provider, in the environment of ours."""
    bin = tempfile.mkdtemp(dir=root)
    shutil.copy(binary, os.path.join(bin, "terraform-provider-openstack"))
    with open(os.path.join(root, "peer.tfrc"), "w") as f:
        f.write(f'provider_installation {{\n  dev_overrides {{\n    "terraform-provider-openstack/openstack" = "{bin}"\n  }}\n}}\n')
    folder = tempfile.mkdtemp(dir=root)
    with open(os.path.join(folder, "main.tf"), "w") as f:
        f.write(PEER % n)
    env = {**ours.env, "TF_CLI_CONFIG_FILE": os.path.join(root, "peer.tfrc"), "OS_AUTH_URL": auth}

    def run(*words):
        command = [ours.core, f"-chdir={folder}", *words, "-no-color", "-input=false", *(["-parallelism=20"] if words[0] != "plan" else [])]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(words)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return run


if __name__ == "__main__":
    sys.exit(main())
