"""What load balancing does with targets and moto does not: time, and refusals.

* A target is "initial" for HEALTHY seconds after its registration (PUT /_rules {"healthy": 3600}), then healthy; with {"unhealthy": 1} it
  is unhealthy; in a target group that no listener uses it is "unused" (Target.NotInUse).
* A deregistered or terminated target is "draining" for the deregistration delay of its target group, then gone; registered again it is
  initial again.
* An instance that does not exist, does not run or is in another VPC cannot be registered, nor one in a group of another target type:
  InvalidTarget, and none of the call's instances is registered. Deregistering what is not registered is no error.
* GET /_rules names the targets that were terminated while they served, or were draining: {"cut": [[ARN, instance]]}.
"""
import http.client
import re
import time
import urllib.parse
import uuid

ACTIONS = {"RegisterTargets", "DeregisterTargets", "DescribeTargetHealth"}
SPACE = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"
ACCOUNT = "x-moto-account-id"
DRAINING_SAYS = "Target deregistration is in progress"


class Targets:
    def __init__(self, upstream, rules):
        self.upstream, self.rules = upstream, rules
        self.forget()

    def forget(self):
        self.registered, self.draining = {}, {}  # (ARN, instance) -> since when, until when
        self.cut = set()  # (ARN, instance)

    def answer(self, headers, form):
        arn, action = form.get("TargetGroupArn", ""), form["Action"]
        ids = [form[name] for name in sorted(form) if re.fullmatch(r"Targets\.member\.\d+\.Id", name)]
        status, text = self.ask(headers, "elasticloadbalancing", {"Action": "DescribeTargetGroups", "TargetGroupArns.member.1": arn})
        if status != 200:
            return self.reply(status, text)
        if action == "RegisterTargets":
            return self.register(headers, arn, text, ids)
        if action == "DeregisterTargets":
            self.drain(headers, [(arn, one) for one in ids if (arn, one) in self.registered])
            return self.reply(200, "", action)
        return self.health(headers, arn, text)

    def register(self, headers, arn, group, ids):
        kind, vpc = value(group, "TargetType") or "instance", value(group, "VpcId")
        for one in ids:
            status, text = self.ask(headers, "ec2", {"Action": "DescribeInstances", "InstanceId.1": one})
            why = None
            if kind != "instance":
                why = f"The target type of the target group is {kind}"
            elif status != 200 or "<instanceId>" not in text:
                why = f"Instance ID '{one}' is not valid"
            elif vpc and value(text, "vpcId") != vpc:
                why = f"The following targets are not in the target group VPC '{vpc}': '{one}'"
            elif "<name>running</name>" not in text:
                why = f"The following targets are not in a running state and cannot be registered: '{one}'"
            if why:
                return self.reply(400, refusal("InvalidTarget", why))
        for one in ids:
            if self.draining.pop((arn, one), None) or (arn, one) not in self.registered:
                self.registered[arn, one] = time.monotonic()
        return self.reply(200, "", "RegisterTargets")

    def health(self, headers, arn, group):
        now, in_use = time.monotonic(), "<LoadBalancerArns>" in group
        items = []
        for (of, one), since in list(self.registered.items()):
            if of == arn:
                items.append((one, *self.state(headers, one, since, in_use)))
        for (of, one), until in list(self.draining.items()):
            if of == arn and now < until:
                items.append((one, "draining", "Target.DeregistrationInProgress", DRAINING_SAYS))
        members = "".join(
            f"<member><HealthCheckPort>80</HealthCheckPort><Target><Id>{one}</Id><Port>80</Port></Target><TargetHealth><State>{state}</State>"
            + (f"<Reason>{reason}</Reason><Description>{words}</Description>" if reason else "")
            + "</TargetHealth></member>"
            for one, state, reason, words in sorted(items)
        )
        text = f"<DescribeTargetHealthResult><TargetHealthDescriptions>{members}</TargetHealthDescriptions></DescribeTargetHealthResult>"
        return self.reply(200, text, "DescribeTargetHealth")

    def state(self, headers, one, since, in_use):
        _, text = self.ask(headers, "ec2", {"Action": "DescribeInstances", "InstanceId.1": one})
        if "<name>stopped</name>" in text:
            return "unused", "Target.InvalidState", "Target is in the stopped state"
        if not in_use:
            return "unused", "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"
        if time.monotonic() - since < self.rules["healthy"]:
            return "initial", "Elb.InitialHealthChecking", "Initial health checks in progress"
        if self.rules["unhealthy"]:
            return "unhealthy", "Target.Timeout", "Request timed out"
        return "healthy", "", ""

    def terminated(self, headers, ids):
        now = time.monotonic()
        serving = {key for key, since in self.registered.items() if now - since >= self.rules["healthy"]}
        draining = {key for key, until in self.draining.items() if now < until}
        self.cut |= {key for key in serving | draining if key[1] in ids}
        self.drain(headers, [key for key in self.registered if key[1] in ids])

    def drain(self, headers, keys):
        for arn, one in keys:
            asked = {"Action": "DescribeTargetGroupAttributes", "TargetGroupArn": arn}
            _, text = self.ask(headers, "elasticloadbalancing", asked)
            delay = re.search(r"<Key>deregistration_delay.timeout_seconds</Key>\s*<Value>(\d+)<|<Value>(\d+)</Value>\s*<Key>deregistration_delay.timeout_seconds<", text)
            seconds = int(delay.group(1) or delay.group(2)) if delay else 300
            if self.registered.pop((arn, one), None) is not None:
                self.draining[arn, one] = time.monotonic() + seconds

    def ask(self, headers, service, form):
        version = "2015-12-01" if service == "elasticloadbalancing" else "2016-11-15"
        body = urllib.parse.urlencode(form | {"Version": version})
        scope = re.sub(r"/[a-z0-9]+/aws4_request", f"/{service}/aws4_request", headers.get("Authorization") or "")
        up = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=120)
        said = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "Authorization": scope}
        # Of tests that have an account of moto's to themselves.
        if headers.get(ACCOUNT):
            said[ACCOUNT] = headers[ACCOUNT]
        up.request("POST", "/", body, said)
        answer = up.getresponse()
        text = answer.read().decode()
        up.close()
        return answer.status, text

    def reply(self, status, inner, action=None):
        if action:
            inner = f'<{action}Response xmlns="{SPACE}">{inner}<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata></{action}Response>'
        return status, {"Content-Type": "text/xml"}, inner.encode()


def value(text, name):
    found = re.search(rf"<{name}>([^<]+)</{name}>", text)
    return found and found.group(1)


def refusal(code, message):
    return f'<ErrorResponse xmlns="{SPACE}"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>'
