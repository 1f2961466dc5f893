"""Policy as docs/verify.md describes it: which bundle was in force, and what it can have decided."""

import datetime
import hashlib
import json
import math
import re
import zoneinfo

from canonical import Fault

GRACE_MS = 2_000
CAPS = ("timeoutMs", "maxBytes", "callsPerTurn")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
YES, NO, UNKNOWN = "yes", "no", "unknown"


class Policies:
    def __init__(self, folder, schema):
        self.folder = folder
        self.schema = schema
        self.in_force = []
        self.not_kept = set()

    def started(self):
        self.in_force = []

    def changed(self, body, at_ms, version):
        digest = body.get("policyDigest")
        if (body["state"] == "none") != (digest is None):
            raise Fault("names a bundle, or none, wrongly")
        bundle = None
        if digest is not None:
            bundle = self.kept(digest)
            if bundle is None and version >= 2:
                self.not_kept.add(digest)
        if bundle is not None:
            name = f"{bundle['id']}@{bundle['version']}"
            if body.get("policyId") != name or body.get("version") != bundle["version"]:
                raise Fault(f"names {body.get('policyId')}, and the bundle is {name}")
        if self.in_force:
            self.in_force[-1]["until"] = at_ms
        self.in_force.append({"body": body, "bundle": bundle, "until": math.inf})

    def kept(self, digest):
        try:
            data = (self.folder / "bundles" / f"{digest[7:]}.json").read_bytes()
        except FileNotFoundError:
            return None
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise Fault("names a bundle whose copy has another digest")
        bundle = json.loads(data)
        if not self.schema.fits(bundle):
            raise Fault("names a bundle that breaks its schema")
        return bundle

    def denied(self, denial, at_ms):
        last = self.in_force[-1] if self.in_force else None
        if last is None or not is_of(denial, last):
            raise Fault("names a policy that was not in force")
        if last["bundle"] is None or denial["ruleId"] is None:
            return
        rules = [rule for rule in last["bundle"]["rules"] if rule["id"] == denial["ruleId"]]
        if not rules or applies(rules[0], denial, None, (at_ms, at_ms)) == NO:
            raise Fault("was not denied by a rule of its policy")
        if rules[0]["effect"] == "allow" and "callsPerTurn" not in rules[0].get("caps", {}):
            raise Fault("names a rule that denies nothing")

    def allowed(self, intent, at_ms):
        caps = intent.get("caps", {})
        since = at_ms - caps.get("timeoutMs", math.inf) - GRACE_MS
        found = [one for one in self.in_force if one["until"] >= since and is_of(intent, one)]
        if not found:
            raise Fault("names a policy that was not in force")
        times = (since if math.isfinite(since) else at_ms, at_ms)
        if not any(can_allow(one, intent, caps, times) for one in found):
            raise Fault("was not allowed by its policy")

    def named(self, receipt, at_ms):
        taken = max(receipt["caps"].get("timeoutMs", math.inf), receipt["elapsedUs"] / 1000)
        since = at_ms - taken - GRACE_MS
        if not any(one["until"] >= since and is_of(receipt, one) for one in self.in_force):
            raise Fault("names a policy that was not in force")


def is_of(record, one):
    return all(record.get(name) == one["body"].get(name) for name in ("policyId", "policyDigest"))


def can_allow(one, intent, caps, times):
    state = one["body"]["state"]
    if state not in ("active", "stale"):
        return False
    bundle = one["bundle"]
    if bundle is None:
        return True
    device = {"tenant": intent["tenant"], "device": intent.get("deviceId")}
    if device in bundle.get("revokedDevices", []):
        return False
    version = intent.get("toolVersion", "")
    judged = [(rule, applies(rule, intent, version, times)) for rule in bundle["rules"]]
    if any(rule["effect"] != "allow" and verdict == YES for rule, verdict in judged):
        return False
    allowing = [
        (rule, verdict)
        for rule, verdict in judged
        if rule["effect"] == "allow"
        and verdict != NO
        and (state == "active" or rule.get("duringGrace") is True)
    ]
    looser = any(
        verdict == YES
        and any(caps.get(cap, 0) > rule.get("caps", {}).get(cap, math.inf) for cap in CAPS)
        for rule, verdict in allowing
    )
    return bool(allowing) and not looser


def applies(rule, record, version, times):
    verdicts = {condition(name, rule, record, version, times) for name in rule}
    if NO in verdicts:
        return NO
    return UNKNOWN if UNKNOWN in verdicts else YES


def condition(name, rule, record, version, times):
    wanted = rule[name]
    if name == "tools":
        return said(any(is_glob_match(pattern, record["tool"]) for pattern in wanted))
    if name in ("tenants", "users"):
        return said(record[name[:-1]] in wanted)
    if name == "devices":
        return said(record["deviceId"] in wanted) if "deviceId" in record else UNKNOWN
    if name in ("versions", "roles", "paths", "hasEffects", "inSandbox"):
        return UNKNOWN
    if name == "hours":
        first, last = (is_within(wanted, time) for time in times)
        return said(first) if first == last else UNKNOWN
    if name in ("when", "egress"):
        return said(rule["effect"] != "allow")
    return YES


def said(is_met):
    return YES if is_met else NO


def is_glob_match(pattern, text):
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def is_within(hours, time_ms):
    zone = zoneinfo.ZoneInfo(hours.get("timeZone", "UTC"))
    now = datetime.datetime.fromtimestamp(time_ms / 1000, zone)
    start, end = (int(text[:2]) * 60 + int(text[3:]) for text in (hours["from"], hours["to"]))
    minute = now.hour * 60 + now.minute
    days = hours.get("days", DAYS)
    today, yesterday = DAYS[now.weekday()] in days, DAYS[now.weekday() - 1] in days
    if start <= end:
        return start <= minute < end and today
    return today if minute >= start else minute < end and yesterday
