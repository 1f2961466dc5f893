"""The encodings of docs/verify.md."""

import base64
import binascii
import json


class Fault(Exception):
    """Why a record is not what a host writes."""


def canonical(value):
    """RFC 8785 for values without fractions."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(key)}:{canonical(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float):
        raise Fault("holds a fraction")
    return json.dumps(value, ensure_ascii=False)


def read_json(data):
    """Refuses what Python reads and JSON does not know."""

    def refuse(name):
        raise ValueError(name)

    return json.loads(data.decode("utf-8"), parse_constant=refuse)


def unbase64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None
