#!/usr/bin/env python3
"""What worker groups cost: plan and refresh of 1,000 machines and of 10,000, a roll of 100, and the creation of 100 on a stand-in of EC2.

    group.py --core terraform --scripts FOLDER PROVIDER

FOLDER has rusage_wrap.c and plan.py (bench/run copies them there). The AWS part runs when AWS_ENDPOINT_URL_EC2 is set (tests/servers/with
aws) and counts the calls by an HTTP proxy of its own. Provider CPU is that of all starts of the provider in one command.
"""
import argparse
import collections
import http.client
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CLOUDS = {
    "sandbox": ('sandbox = { directory = "cloud" }', '"flatcar-stable"', 'sandbox = { boot_time = "1s" }'),
    "aws": ('aws = { region = "eu-central-1", access_key = "test", secret_key = "test", endpoint = "ENDPOINT" }',
            '"ami-0f1a7ca7000000001"', 'aws = { instance_type = "t3.small" }'),
}
HCL = """terraform {
  required_providers {
    flatcar = { source = "flatcar-iac/flatcar" }
  }
}
provider "flatcar" {
  %(provider)s
}
variable "motd" { default = "hello" }
resource "flatcar_worker_group" "bench" {
  name           = "bench"
  cluster        = "bench"
  replicas       = %(n)d
  image          = %(image)s
  user_data      = jsonencode({ ignition = { version = "3.4.0" }, storage = { files = [{ path = "/etc/motd", contents = { source = "data:,${var.motd}" } }] } })
  rolling_update = { parallelism = 20, max_surge = "10" }
  %(shape)s
}
"""
counts, lock = collections.Counter(), threading.Lock()


class Proxy(BaseHTTPRequestHandler):
    """Counts EC2's and STS's actions on the way to the stand-in."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        action = urllib.parse.parse_qs(body.decode()).get("Action", ["?"])[0]
        with lock:
            counts[action] += 1
        up = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=120)
        up.request("POST", self.path, body, {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "content-length")})
        answer = up.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for k, v in answer.getheaders():
            if k.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(k, v)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        up.close()

    def log_message(self, *_):
        pass


class Group:
    """A workspace with one group, and a core to run in it."""

    def __init__(self, plan, core, provider, root, cloud, n, endpoint=""):
        self.plan, self.core, self.log = plan, core, os.path.join(root, "rusage")
        self.dir, bin = tempfile.mkdtemp(dir=root), os.path.join(root, "bin")
        if not os.path.exists(bin):
            os.makedirs(bin)
            if os.system(f"cc -O2 -o {bin}/terraform-provider-flatcar {os.path.dirname(plan.__file__)}/rusage_wrap.c"):
                sys.exit("cc could not compile rusage_wrap.c")
            with open(os.path.join(root, "settings.tfrc"), "w") as f:
                f.write(f'provider_installation {{\n  dev_overrides {{\n    "flatcar-iac/flatcar" = "{bin}"\n  }}\n}}\n')
        with open(os.path.join(self.dir, "main.tf"), "w") as f:
            of, image, shape = CLOUDS[cloud]
            f.write(HCL % {"provider": of.replace("ENDPOINT", endpoint), "image": image, "shape": shape, "n": n})
        self.env = {"PATH": os.environ["PATH"], "HOME": root, "TMPDIR": root, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1",
                    "TF_CLI_CONFIG_FILE": os.path.join(root, "settings.tfrc"), "BENCH_REAL": provider, "BENCH_LOG": self.log}

    def run(self, *words):
        """Wall seconds, provider CPU seconds, peak RSS in MiB, output."""
        if os.path.exists(self.log):
            os.unlink(self.log)
        out = os.path.join(self.dir, "out.txt")
        wall, _, status = self.plan.spawn([self.core, f"-chdir={self.dir}", *words, "-no-color", "-input=false"], self.env, out)
        text = open(out).read()
        if status:
            sys.exit(f"{' '.join(words)} failed:\n{text[-3000:]}")
        used = [json.loads(line) for line in open(self.log)] if os.path.exists(self.log) else []
        return wall, sum(u["user"] + u["sys"] for u in used), max((u["maxrss"] for u in used), default=0) / 1024, text


def row(what, runs):
    cells = [f"{statistics.median(v) * f:.{d}f} ({min(v) * f:.{d}f}..{max(v) * f:.{d}f})"
             for v, f, d in ((([r[1] for r in runs]), 1000, 1), ([r[2] for r in runs], 1, 1), ([r[0] for r in runs], 1000, 0))]
    print(f"| {what} | " + " | ".join(cells) + " |", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--core", default="terraform")
    ap.add_argument("--scripts", required=True)
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--machines", type=int, default=1000)
    ap.add_argument("provider")
    a = ap.parse_args()
    sys.path.insert(0, a.scripts)
    import plan
    core, provider, root = shutil.which(a.core) or sys.exit(f"no {a.core}"), os.path.abspath(a.provider), tempfile.mkdtemp(prefix="group-bench-")
    try:
        print(f"Median (minimum..maximum) of {a.runs} runs. A plan starts the provider several times; the first row is what that costs.\n")
        print("| case | provider CPU ms | peak RSS MiB | wall ms |\n|---|---|---|---|")
        empty, big = (Group(plan, core, provider, root, "sandbox", n) for n in (0, a.machines))
        for group in (empty, big):
            group.run("apply", "-auto-approve")
        row("plan, a group of no machines", [empty.run("plan") for _ in range(a.runs)])
        row(f"plan without refresh, {a.machines} machines", [big.run("plan", "-refresh=false") for _ in range(a.runs)])
        row(f"plan with refresh, {a.machines} machines on sandbox", [big.run("plan") for _ in range(a.runs)])
        rolls = [big.run("plan", "-refresh=false", "-var=motd=changed") for _ in range(a.runs)]
        listed = len(re.findall(r"machine +=", rolls[0][3]))
        row(f"plan of a roll of {a.machines} machines without refresh ({listed} steps listed)", rolls)
        tenfold = Group(plan, core, provider, root, "sandbox", 10 * a.machines)
        tenfold.run("apply", "-auto-approve")
        row(f"plan without refresh, {10 * a.machines} machines", [tenfold.run("plan", "-refresh=false") for _ in range(a.runs)])
        row(f"plan with refresh, {10 * a.machines} machines on sandbox", [tenfold.run("plan") for _ in range(a.runs)])
        hundred = Group(plan, core, provider, root, "sandbox", 100)
        hundred.run("apply", "-auto-approve")
        walls = [hundred.run("apply", "-auto-approve", f"-var=motd=roll{i}")[0] for i in range(3)]
        rolled = (f"\nRolling 100 machines on sandbox, boot time 1 s, `max_surge = 10` (ideal: 10 batches of 1 s): {statistics.median(walls):.2f} s "
                  f"({min(walls):.2f}..{max(walls):.2f}) for the whole apply, {statistics.median(walls) / 10:.2f} times the ideal.")
        upstream = os.environ.get("AWS_ENDPOINT_URL_EC2")
        if not upstream:
            print(rolled)
            print("\nAWS was not measured: no stand-in ran.")
            return
        server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
        server.upstream = int(upstream.rsplit(":", 1)[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        aws = [Group(plan, core, provider, root, "aws", n, f"http://127.0.0.1:{server.server_port}") for n in (100, a.machines)]
        made = []
        for group in aws:
            counts.clear()
            made.append((group.run("apply", "-auto-approve")[0], dict(counts)))
            if group is aws[0]:
                group.run("destroy", "-auto-approve")
        counts.clear()
        row(f"plan with refresh, {a.machines} machines on EC2's stand-in", [aws[1].run("plan") for _ in range(a.runs)])
        print(rolled)
        calls = {k: v / a.runs for k, v in counts.items()}
        print(f"\nCalls of one plan with refresh, {a.machines} machines: " + ", ".join(f"{k} {v:g}" for k, v in sorted(calls.items())) + ".")
        for n, (wall, calls) in zip((100, a.machines), made):
            print(f"\nCreating {n} machines on EC2's stand-in, `parallelism = 20`: {wall:.1f} s for the whole apply; "
                  + ", ".join(f"{k} {v}" for k, v in sorted(calls.items())) + ".")
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
