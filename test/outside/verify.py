"""A verifier of ledgers, written from docs/verify.md alone. Prints one JSON object for each folder.

verify.py --contracts contracts --host-keys DIR --device-keys DIR [--checkpoint FILE]... FOLDER...
"""

import argparse
import base64
import hashlib
import json
import pathlib
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from calls import Calls
from canonical import Fault, canonical, read_json, unbase64
from json_schema import Schema

RECORD_VERSION = 2


class Key:
    def __init__(self, pem):
        self.key = serialization.load_pem_public_key(pem)
        spki = self.key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.keyid = hashlib.sha256(spki).hexdigest()[:16]
        self.is_ed25519 = isinstance(self.key, ed25519.Ed25519PublicKey)
        self.raw = spki[-32:]

    def verifies(self, signature, data):
        try:
            if self.is_ed25519:
                self.key.verify(signature, data)
            elif len(signature) == 64:
                r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:]))
                der = utils.encode_dss_signature(r, s)
                self.key.verify(der, data, ec.ECDSA(hashes.SHA256()))
            else:
                return False
        except InvalidSignature:
            return False
        return True


class Tree:
    """The perfect subtrees over the leaves so far, largest first, as (leaves, root)."""

    def __init__(self):
        self.size = 0
        self.parts = []

    def push(self, leaf):
        self.size += 1
        part = (1, leaf)
        while self.parts and self.parts[-1][0] == part[0]:
            leaves, left = self.parts.pop()
            part = (leaves * 2, node(left, part[1]))
        self.parts.append(part)

    def root(self):
        if not self.parts:
            return hashlib.sha256(b"").digest()
        *rest, (_, root) = self.parts
        for _, left in reversed(rest):
            root = node(left, root)
        return root


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


class Checkpoints:
    """Roots by size, and what is wrong with the notes that state them."""

    def __init__(self, notes, keys):
        self.roots = {}
        self.faults = []
        self.unchecked = set()
        self.name = None
        for note in notes:
            try:
                self.add(note, keys)
            except Fault as fault:
                self.faults.append(str(fault))

    def add(self, note, keys):
        text, separator, signatures = (note or "").partition("\n\n")
        lines = text.split("\n")
        if not separator or not signatures.endswith("\n") or len(lines) < 3:
            raise Fault("there is no checkpoint that is a signed note")
        name, size, root = lines[0], lines[1], unbase64(lines[2])
        if not size.isascii() or not size.isdigit() or str(int(size)) != size:
            raise Fault("the size of the checkpoint is not a number")
        if root is None or len(root) != 32 or len(name.rpartition("/")[2]) != 32:
            raise Fault("the checkpoint has no root or ledger id")
        self.check_signature(name, f"{text}\n".encode(), signatures, keys)
        if self.name not in (None, name):
            raise Fault("two checkpoints name different ledgers")
        self.name = name
        if self.roots.setdefault(int(size), root) != root:
            raise Fault("two checkpoints contradict each other")

    def check_signature(self, name, text, signatures, keys):
        found = {}
        for line in signatures.split("\n"):
            data = unbase64(line.removeprefix(f"\u2014 {name} "))
            if line.startswith(f"\u2014 {name} ") and data is not None:
                found.setdefault(data[:4], []).append(data[4:])
        known = False
        for key in keys:
            data = name.encode() + b"\n\x01" + key.raw
            for signature in found.get(hashlib.sha256(data).digest()[:4], []):
                known = True
                if key.is_ed25519 and key.verifies(signature, text):
                    return
        if known or not found:
            raise Fault("no known key signed the checkpoint")
        self.unchecked.update(key_hash.hex() for key_hash in found)


class Verifier:
    def __init__(self, folder, options):
        self.folder = folder
        self.schemas = options.schemas
        own = folder / "checkpoint"
        notes = [own.read_text("utf-8") if own.exists() else None, *options.notes]
        self.checkpoints = Checkpoints(notes, options.host_keys)
        self.calls = Calls(folder, options)
        self.tree = Tree()
        self.ledger_id = ""
        self.prev = "0" * 64
        self.version = 1
        self.ended = False
        self.open = {}

    def run(self):
        fault, index = None, None
        roots = [self.tree.root()]
        try:
            for _ in self.records():
                roots.append(self.tree.root())
            size = max(self.checkpoints.roots, default=0)
            if size > self.tree.size:
                index, fault = self.tree.size, f"is missing: a checkpoint covers {size}"
        except Fault as found:
            fault, index = str(found), self.bad_index
        if fault is None and self.checkpoints.faults:
            fault = self.checkpoints.faults[0]
        records = self.tree.size if index is None else index
        unchecked = sorted(self.checkpoints.unchecked | self.calls.unchecked())
        return {
            "verdict": "altered" if fault else "unchecked" if unchecked else "valid",
            "records": records,
            "root": base64.b64encode(roots[records]).decode(),
            "unchecked": unchecked,
            **({} if index is None else {"index": index}),
            **({} if fault is None else {"reason": fault}),
        }

    def records(self):
        files = sorted(self.folder.glob("segment-*.jsonl"))
        for file in files:
            *lines, rest = file.read_bytes().split(b"\n")
            for i, line in enumerate(lines):
                self.bad_index = self.tree.size
                after = lines[i + 1] if i + 1 < len(lines) else rest or None
                yield self.record(line, i == 0, after)
            self.bad_index = self.tree.size
            if rest and file != files[-1]:
                raise Fault("is cut off")

    def record(self, line, is_first, after):
        leaf = hashlib.sha256(b"\0" + line).digest()
        record = self.read(line)
        self.check_place(record, is_first, leaf, after)
        if canonical(record).encode() != line:
            raise Fault("is not canonical JSON")
        index, kind, body = record["index"], record["kind"], record["body"]
        if record["synced"] > index:
            raise Fault("was synced before it was written")
        if kind == "ledger.adopted" and body["records"] >= index:
            raise Fault("adopts more records than there are")
        self.advance(record, leaf)
        self.check_checkpoint()
        self.calls.take(record)
        return record

    def read(self, line):
        try:
            record = read_json(line)
        except (ValueError, RecursionError) as cause:
            raise Fault("cannot be read") from cause
        version = record.get("v") if isinstance(record, dict) else None
        if type(version) is not int or version > RECORD_VERSION:
            raise Fault(f"has version {version}")
        schemas = self.schemas
        if not schemas["record"].fits(record) or not schemas[record["kind"]].fits(record["body"]):
            raise Fault("breaks its schema")
        if record["kind"] == "ledger.segment":
            intents = [one["body"] for one in record["body"]["openIntents"]]
            if not all(schemas["call.intent"].fits(body) for body in intents):
                raise Fault("breaks its schema")
        return record

    def check_place(self, record, is_first, leaf, after):
        index, kind = record["index"], record["kind"]
        if index != self.tree.size:
            raise Fault("is not in its place")
        if record["prev"] != self.prev:
            if not is_first and follows(after, leaf):
                self.bad_index -= 1
            raise Fault("does not follow the record before it")
        if self.ended:
            raise Fault("follows the end of the ledger")
        if record["v"] < self.version:
            raise Fault("has an older version than those before")
        if (kind == "ledger.opened") != (index == 0):
            raise Fault("names the ledger in the wrong place")
        if is_first != (kind in ("ledger.opened", "ledger.segment")):
            raise Fault("does not begin its file as it should")
        if kind == "ledger.segment" and record["body"] != {
            "ledgerId": self.ledger_id,
            "frontier": [root.hex() for _, root in self.tree.parts],
            "openIntents": list(self.open.values()),
        }:
            raise Fault("does not sum up the records before it")

    def advance(self, record, leaf):
        kind, body = record["kind"], record["body"]
        if kind == "ledger.opened":
            self.ledger_id = body["ledgerId"]
        if kind == "call.intent":
            self.open[body["callId"]] = {name: record[name] for name in ("index", "at", "body")}
        if kind == "call.receipt":
            self.open.pop(body["callId"], None)
        self.ended = kind == "ledger.ended"
        self.version = record["v"]
        self.prev = leaf.hex()
        self.tree.push(leaf)

    def check_checkpoint(self):
        name = self.checkpoints.name
        if name is not None and name.rpartition("/")[2] != self.ledger_id:
            raise Fault("is of another ledger than the checkpoint")
        if self.checkpoints.roots.get(self.tree.size, self.tree.root()) != self.tree.root():
            raise Fault("differs from the checkpoint")


def follows(line, leaf):
    try:
        record = read_json(line or b"")
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("prev") == leaf.hex()


def read_keys(path):
    files = sorted(path.glob("*.pem")) if path.is_dir() else [path]
    return [Key(file.read_bytes()) for file in files]


def read_schemas(contracts):
    def schema(path):
        return Schema(json.loads((contracts / path).read_text("utf-8")))

    kinds = [file.name.removesuffix(".schema.json") for file in (contracts / "audit/records").iterdir()]
    return {
        "record": schema("audit/record.schema.json"),
        "receipt": schema("audit/receipt.schema.json"),
        "bundle": schema("policy/bundle.schema.json"),
        **{kind: schema(f"audit/records/{kind}.schema.json") for kind in kinds},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contracts", type=pathlib.Path, required=True)
    parser.add_argument("--host-keys", type=pathlib.Path, required=True)
    parser.add_argument("--device-keys", type=pathlib.Path, required=True)
    parser.add_argument("--checkpoint", type=pathlib.Path, action="append", default=[])
    parser.add_argument("folders", type=pathlib.Path, nargs="+")
    options = parser.parse_args()
    options.schemas = read_schemas(options.contracts)
    options.host_keys = read_keys(options.host_keys)
    options.device_keys = read_keys(options.device_keys)
    options.notes = [file.read_text("utf-8") for file in options.checkpoint]
    for folder in options.folders:
        print(json.dumps(Verifier(folder, options).run()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
