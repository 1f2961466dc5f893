"""Receipts, calls and turns as docs/verify.md describes them."""

import datetime
import re

from canonical import Fault, canonical, read_json, unbase64
from decisions import Policies

RECEIPT_TYPE = re.compile(r"application/vnd\.zerolatency\.receipt\.v(\d+)\+json")
SHARED = ("executor", "callId", "tool", "argumentsDigest", "tenant", "user", "deviceId")
AGREEING = {
    "done": ("done",),
    "failed": ("failed", "done", "cancelled"),
    "cancelled": ("cancelled", "done", "failed"),
    "denied": ("denied",),
    "unknown": ("unknown",),
}
OF_DENIAL = (
    *("tool", "argumentsDigest", "tenant", "user"),
    *("deviceId", "turnId", "policyId", "policyDigest"),
)
OF_INTENT = (*OF_DENIAL, "executor", "toolVersion")


class Calls:
    def __init__(self, folder, options):
        self.schema = options.schemas["receipt"]
        self.keys = {"host": options.host_keys, "device": options.device_keys}
        self.policies = Policies(folder, options.schemas["bundle"])
        self.calls = {}
        self.of_turn = {}
        self.ended = set()
        self.left = set()

    def unchecked(self):
        return self.left | self.policies.not_kept

    def take(self, record):
        body, version = record["body"], record["v"]
        at_ms = time_ms(record["at"])
        kind = record["kind"]
        if kind in ("call.intent", "policy.denied"):
            known = self.calls.get(body["callId"])
            if known is None:
                self.begin(body["callId"], body, **{kind.split(".")[1]: body})
            elif kind == "call.intent" and is_intended_again(known, body):
                known["intent"] = body
            else:
                raise Fault("is not the first record of its call")
            decide = self.policies.allowed if kind == "call.intent" else self.policies.denied
            decide(body, at_ms)
        elif kind == "call.receipt":
            self.receipt(body, at_ms)
        elif kind == "policy.withheld":
            self.withheld(body, at_ms)
        elif kind == "turn":
            self.turn(body, version)
        elif kind == "policy.changed":
            self.policies.changed(body, at_ms, version)
        elif kind == "host.started":
            self.policies.started()

    def withheld(self, body, at_ms):
        if body["turnId"] in self.ended:
            raise Fault("is of a turn that has ended")
        if len(body["tools"]) > body["count"]:
            raise Fault("names more tools than it counts")
        for tool in body["tools"]:
            self.policies.denied({**body, **tool}, at_ms)

    def begin(self, call_id, facts, intent=None, denied=None):
        owner = tuple(facts.get(name) for name in ("turnId", "tenant", "user"))
        call = {"owner": owner, "intent": intent, "denial": denied, "ended": False, "named": False}
        self.calls[call_id] = call
        self.of_turn.setdefault(owner[0], []).append(call_id)
        return call

    def receipt(self, body, at_ms):
        receipt = self.read_both(body["receipt"])
        call_id = body["callId"]
        call = self.calls.get(call_id)
        if call is not None and call["ended"]:
            raise Fault("is a second receipt of its call")
        if receipt is not None and receipt["callId"] != call_id:
            raise Fault("holds the receipt of another call")
        if call is None:
            call = self.begin(call_id, receipt or {})
        if receipt is not None:
            self.compare(call, receipt, body["argumentSalt"])
            if call["intent"] is None and call["denial"] is None:
                self.policies.named(receipt, at_ms)
        if call["owner"][0] in self.ended and not call["named"]:
            raise Fault("is of a turn whose record does not name the call")
        call["ended"] = True

    def compare(self, call, receipt, salt):
        before = call["intent"] or call["denial"]
        if before is None:
            outcome = receipt["outcome"]
            is_unknown = outcome == "unknown" and receipt["executor"] == "device"
            if outcome in ("denied", "done") or "device" in receipt or is_unknown:
                raise Fault("is of a call that has neither intent nor denial")
            return
        names = OF_INTENT if call["intent"] else OF_DENIAL
        if any(before.get(name) != receipt.get(name) for name in names):
            raise Fault("differs from what was recorded before it")
        if before.get("argumentSalt") != salt:
            raise Fault("has another salt than what was recorded before it")
        if call["intent"] and receipt["caps"] != before.get("caps", {}):
            raise Fault("differs from its intent in caps")
        if call["denial"] and receipt["outcome"] != "denied":
            raise Fault("does not say denied of a call that was denied")

    def turn(self, turn, version):
        turn_id = turn["turnId"]
        if turn_id in self.ended:
            raise Fault("is a second record of its turn")
        self.ended.add(turn_id)
        for call_id in turn["callIds"]:
            call = self.calls.get(call_id)
            if call is None and version == 1:
                continue
            if call is None or call["named"]:
                raise Fault("names a call that has no record, or that was named before")
            if call["owner"] != (turn_id, turn["tenant"], turn["user"]):
                raise Fault("names a call of another turn or user")
            call["named"] = True
        left = [self.calls[call_id] for call_id in self.of_turn.get(turn_id, [])]
        if any(call["ended"] and not call["named"] for call in left):
            raise Fault("does not name all of its calls")

    def read_both(self, envelope):
        host = self.read_one("host", envelope)
        if host is None:
            return None
        device = None
        if "device" in host:
            device = self.read_one("device", host["device"])
            if device is None:
                return host
        if device is None:
            if host["outcome"] == "done" and host["executor"] == "device":
                raise Fault("says done without the device's receipt")
            return host
        if any(host.get(name) != device.get(name) for name in SHARED):
            raise Fault("host and device differ")
        if device["outcome"] not in AGREEING[host["outcome"]]:
            raise Fault("host and device differ in outcome")
        if host["outcome"] == "done" and host["resultDigest"] != device["resultDigest"]:
            raise Fault("host and device differ in resultDigest")
        return host

    def read_one(self, role, envelope):
        """None for a receipt of a later version."""
        kind = envelope["payloadType"]
        if int(RECEIPT_TYPE.fullmatch(kind)[1]) > 1:
            self.left.add(f"{role}: {kind}")
            return None
        payload = unbase64(as_standard(envelope["payload"]))
        if payload is None:
            raise Fault("has a payload that is not base64")
        signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
        self.check_signatures(role, envelope["signatures"], signed)
        try:
            receipt = read_json(payload)
        except (ValueError, RecursionError) as cause:
            raise Fault("has a payload that is not JSON") from cause
        if not self.schema.fits(receipt) or canonical(receipt).encode() != payload:
            raise Fault("holds a receipt that breaks its contract")
        if receipt["role"] != role:
            raise Fault(f"holds a receipt of the {receipt['role']} as that of the {role}")
        return receipt

    def check_signatures(self, role, signatures, signed):
        keys = self.keys[role]
        is_known = False
        for signature in signatures:
            named = [key for key in keys if key.keyid == signature["keyid"]]
            is_known = is_known or bool(named)
            data = unbase64(as_standard(signature["sig"]))
            if data is not None and any(key.verifies(data, signed) for key in named or keys):
                return
        if is_known:
            raise Fault(f"is not signed by the {role}")
        self.left.update(f"{role} key {signature['keyid']}" for signature in signatures)


TARGET = ("journalId", "requestDigest", "deadlineUnixMs")


def is_intended_again(call, intent):
    before = call["intent"]
    if before is None or call["ended"] or call["named"]:
        return False
    if "journalId" not in before or "journalId" not in intent:
        return False
    if before["journalId"] == intent["journalId"]:
        return False
    kept = [{name: body[name] for name in body if name not in TARGET} for body in (before, intent)]
    return kept[0] == kept[1]


def time_ms(text):
    """Reads every date-time that the schema allows; Python itself reads fewer before 3.11."""
    fraction, zone = re.fullmatch(r"(\.\d+)?([Zz]|[+-]\d\d:\d\d)", text[19:], re.ASCII).groups()
    whole = datetime.datetime.fromisoformat(text[:19]).replace(tzinfo=datetime.timezone.utc)
    minutes = 0 if zone in "Zz" else int(f"{zone[0]}1") * (int(zone[1:3]) * 60 + int(zone[4:]))
    return round((whole.timestamp() - minutes * 60 + float(fraction or 0)) * 1000)


def as_standard(text):
    if any(one in text for one in "+/"):
        return text
    return text.replace("-", "+").replace("_", "/")
