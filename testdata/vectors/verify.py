#!/usr/bin/env python3
"""Recompute every identity vector with the standard library alone.

Independent of the Go code: documents go through Python's json (with hooks) and
numbers through decimal.
"""
import base64
import decimal
import hashlib
import hmac
import json
import pathlib
import re
import struct
import sys
import uuid

HERE = pathlib.Path(__file__).resolve().parent


class Refused(Exception):
    pass


def refuse(why):
    raise Refused(why)


# Canonical JSON

class Number(str):
    """The text of a number, told apart from a string."""


def members(pairs):
    if len({name for name, _ in pairs}) != len(pairs):
        refuse("duplicate-name")
    return dict(pairs)


def canonical(document):
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError:
        refuse("invalid-utf8")
    if len(document) > 8 << 20:
        refuse("too-large")
    try:
        value = json.loads(text, parse_int=Number, parse_float=Number, object_pairs_hook=members,
                           parse_constant=lambda name: refuse("not-finite"))
    except json.JSONDecodeError as err:
        refuse("syntax: %s" % err)
    out = write(value, 0)
    try:
        return out.encode("utf-8")
    except UnicodeEncodeError:
        refuse("lone-surrogate")


def write(value, depth):
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, Number):
        return number(value)
    if isinstance(value, str):
        return string(value)
    if depth == 128:
        refuse("too-deep")
    if isinstance(value, list):
        return "[" + ",".join(write(v, depth + 1) for v in value) + "]"
    names = sorted(value, key=lambda n: n.encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(string(n) + ":" + write(value[n], depth + 1) for n in names) + "}"


SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def string(text):
    return '"' + "".join(SHORT.get(c) or ("\\u%04x" % ord(c) if c < " " else c) for c in text) + '"'


def number(text):
    mantissa, _, exponent = text.lower().partition("e")
    # An exponent too long for decimal is out of range unless the value is zero.
    if not re.search("[1-9]", mantissa):
        return "0"
    if len(exponent.lstrip("+-").lstrip("0")) > 12:
        refuse("exponent-out-of-range")
    sign, digits, power = decimal.Decimal(text).as_tuple()
    digits = "".join(map(str, digits)).lstrip("0")
    stripped = digits.rstrip("0")
    power += len(digits) - len(stripped)
    if len(stripped) > 4096:
        refuse("too-many-digits")
    leading = len(stripped) - 1 + power
    if abs(leading) > 9999:
        refuse("exponent-out-of-range")
    value = decimal.Decimal((0, tuple(map(int, stripped)), power))
    if 0 <= leading <= 20 or -6 <= leading < 0:
        out = format(value, "f")
    else:
        out = stripped[0] + ("." + stripped[1:] if stripped[1:] else "") + "e%+d" % leading
    return ("-" if sign else "") + out


# Keys and request IDs

def text_of(value):
    if value == "":
        refuse("empty")
    if "\0" in value:
        refuse("NUL")
    return value


def encode_key(case):
    if "parts" not in case:
        if "raw_hex" in case:
            try:
                raw = bytes.fromhex(case["raw_hex"]).decode("utf-8")
            except UnicodeDecodeError:
                refuse("UTF-8")
        else:
            raw = case["raw"]
        out = "=" + text_of(raw)
    else:
        parts = {}
        for part in case["parts"]:
            name, value = part["name"], text_of(part["value"])
            if not re.fullmatch("[a-z][a-z0-9_.-]{0,63}", name):
                refuse("name")
            if name in parts:
                refuse("twice")
            if part["type"] in ("int", "uint"):
                value = str(int(value))
            if part["type"] == "uuid":
                if uuid.UUID(value).int == 0:
                    refuse("all-zero")
                value = str(uuid.UUID(value))
            parts[name] = value.replace("%", "%25").replace("/", "%2F")
        if not parts:
            refuse("no parts")
        out = "/".join(name + "=" + parts[name] for name in sorted(parts))
    if len(out.encode("utf-8")) > 512:
        refuse("length")
    return out


def issued_at(case):
    values = [p["value"] for p in case["parts"]] if "parts" in case else [case.get("raw", "")]
    if len(values) != 1:
        return None
    value, ms = values[0], None
    if re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", value, re.I | re.A):
        ms = uuid.UUID(value).int >> 80
    elif len(value) == 26 and value in (value.upper(), value.lower()) \
            and re.fullmatch("[0-7][0-9A-HJKMNP-TV-Z]{25}", value.upper()):
        ms = 0
        for letter in value.upper()[:10]:
            ms = ms * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(letter)
    return ms if ms is not None and 1577836800000 <= ms < 4102444800000 else None


def field(data):
    return struct.pack(">Q", len(data)) + data


def request_id(scope, action, encoded):
    if not 0 < len(scope.encode("utf-8")) <= 256 or "\0" in scope:
        refuse("scope")
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9._/-]{0,127}", action):
        refuse("action")
    digest = hashlib.sha256(b"".join(field(f.encode("utf-8")) for f in ("onceguard/1", scope, action, encoded))).digest()
    return "req_" + base64.b32encode(digest).decode("ascii").rstrip("=").lower()


# Cases

def canonical_case(_, case):
    document = bytes.fromhex(case["input_hex"]) if "input_hex" in case else case["input"].encode("utf-8")
    return {"canonical": canonical(document).decode("utf-8")}


def key_case(_, case):
    out = {"encoded": encode_key(case)}
    at = issued_at(case)
    if at is not None:
        out["issued_at_ms"] = at
    return out


def request_id_case(_, case):
    encoded = encode_key(case)
    out = {"encoded": encoded, "request_id": request_id(case["scope"], case["action"], encoded)}
    if "slot" in case:
        out["slot_key"] = encode_key({"parts": [
            {"name": "parent", "type": "string", "value": out["request_id"]},
            {"name": "slot", "type": "string", "value": case["slot"]}]})
    return out


def fingerprint_case(file, case):
    if "document" in case:
        data = canonical(case["document"].encode("utf-8"))
    elif "bytes_hex" in case:
        data = bytes.fromhex(case["bytes_hex"])
    else:
        data = case["bytes"].encode("utf-8")
    message = field(b"onceguard/fingerprint/1") + field(case["kind"].encode("ascii")) + data
    digest = hmac.new(bytes.fromhex(file["secret_hex"]), message, hashlib.sha256).hexdigest()
    return {"fingerprint": "fp1:%s:%s" % (file["key_id"], digest)}


def main():
    wrong = total = 0
    for name, compute in (("canonical", canonical_case), ("keys", key_case),
                          ("requestids", request_id_case), ("fingerprints", fingerprint_case)):
        file = json.loads((HERE / (name + ".json")).read_text("ascii"))
        for case in file["cases"]:
            total += 1
            want = {k: case[k] for k in ("canonical", "encoded", "issued_at_ms", "request_id", "slot_key", "fingerprint") if k in case}
            if "refused" in case:
                want = "refused"
            try:
                got = compute(file, case)
            except Refused:
                got = "refused"
            if got != want:
                wrong += 1
                print("%s.json: %s: got %s, want %s" % (name, case["name"], ascii(got), ascii(want)))
    print("%d vectors, %d wrong" % (total, wrong))
    return 1 if wrong or not total else 0


if __name__ == "__main__":
    sys.exit(main())
