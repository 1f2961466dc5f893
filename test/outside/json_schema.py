"""The part of JSON Schema 2020-12 that the contracts of docs/verify.md use."""

import datetime
import re

DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)

TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
}

# Annotations, and what other keywords read.
SILENT = {"$schema", "$id", "$defs", "title", "description", "then", "else", "properties"}


class Schema:
    def __init__(self, document):
        self.document = document

    def fits(self, value, schema=None):
        schema = self.document if schema is None else schema
        if isinstance(schema, bool):
            return schema
        return all(
            self.holds(key, wanted, value, schema)
            for key, wanted in schema.items()
            if key not in SILENT
        ) and self.fits_properties(value, schema)

    def fits_properties(self, value, schema):
        if not isinstance(value, dict):
            return True
        return all(
            self.fits(value[name], part)
            for name, part in schema.get("properties", {}).items()
            if name in value
        )

    def holds(self, key, wanted, value, schema):
        if key == "$ref":
            return self.fits(value, self.resolve(wanted))
        if key == "type":
            names = wanted if isinstance(wanted, list) else [wanted]
            return any(TYPES[name](value) for name in names)
        if key == "const":
            return same(value, wanted)
        if key == "enum":
            return any(same(value, one) for one in wanted)
        if key == "allOf":
            return all(self.fits(value, one) for one in wanted)
        if key == "anyOf":
            return any(self.fits(value, one) for one in wanted)
        if key == "not":
            return not self.fits(value, wanted)
        if key == "if":
            branch = "then" if self.fits(value, wanted) else "else"
            return self.fits(value, schema.get(branch, True))
        for kind, keywords in BOUNDS:
            if key in keywords:
                return not TYPES[kind](value) or keywords[key](self, value, wanted, schema)
        raise ValueError(f"the schema has the keyword {key}, which is not in docs/verify.md")

    def resolve(self, reference):
        part = self.document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
        return part


def same(a, b):
    return type(a) is type(b) and a == b


def is_date_time(text):
    if not DATE_TIME.fullmatch(text):
        return False
    try:
        datetime.datetime.fromisoformat(text[:19])
    except ValueError:
        return False
    return True


def is_match(pattern, text):
    # $ is the end of the text in JSON Schema, and also before a last line feed in Python.
    source = pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern
    return re.search(source, text, re.ASCII) is not None


BOUNDS = [
    (
        "object",
        {
            "required": lambda s, v, names, _: all(name in v for name in names),
            "minProperties": lambda s, v, least, _: len(v) >= least,
            "additionalProperties": lambda s, v, rest, schema: all(
                name in schema.get("properties", {}) or s.fits(part, rest)
                for name, part in v.items()
            ),
            "dependentRequired": lambda s, v, wanted, _: all(
                name not in v or all(other in v for other in others)
                for name, others in wanted.items()
            ),
        },
    ),
    (
        "array",
        {
            "items": lambda s, v, one, _: all(s.fits(part, one) for part in v),
            "minItems": lambda s, v, least, _: len(v) >= least,
            "maxItems": lambda s, v, most, _: len(v) <= most,
            "uniqueItems": lambda s, v, _, __: len({repr(part) for part in v}) == len(v),
        },
    ),
    (
        "string",
        {
            "minLength": lambda s, v, least, _: len(v) >= least,
            "maxLength": lambda s, v, most, _: len(v) <= most,
            "pattern": lambda s, v, pattern, _: is_match(pattern, v),
            "format": lambda s, v, name, _: name == "date-time" and is_date_time(v),
        },
    ),
    (
        "integer",
        {
            "minimum": lambda s, v, least, _: v >= least,
            "maximum": lambda s, v, most, _: v <= most,
        },
    ),
]
