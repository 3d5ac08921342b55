// Recomputes every identity vector with Node's own modules alone.
//
// Independent of the Go code: JSON.parse rounds numbers and merges names, so
// documents are read here by a tokenizer of regular expressions.
import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

class Refused extends Error {}
const refuse = (why) => { throw new Refused(why); };

// Canonical JSON

const TOKEN = /[ \t\n\r]*(?:([{}[\]:,])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(true|false|null))/y;
const MAX_LEN = 8 << 20;

function canonical(bytes) {
  if (bytes.length > MAX_LEN) refuse("too-large");
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    refuse("invalid-utf8");
  }
  let at = 0;
  const next = () => {
    TOKEN.lastIndex = at;
    const m = TOKEN.exec(text);
    if (!m) refuse("syntax");
    at = TOKEN.lastIndex;
    return { mark: m[1], string: m[2], number: m[3], word: m[4] };
  };
  const value = (token, depth) => {
    if (token.string !== undefined) return quote(JSON.parse(token.string));
    if (token.number !== undefined) return number(token.number);
    if (token.word !== undefined) return token.word;
    if (depth === 128) refuse("too-deep");
    if (token.mark === "[") return array(depth + 1);
    if (token.mark === "{") return object(depth + 1);
    return refuse("syntax");
  };
  const array = (depth) => {
    const items = [];
    let token = next();
    if (token.mark === "]") return "[]";
    for (;;) {
      items.push(value(token, depth));
      token = next();
      if (token.mark === "]") return "[" + items.join(",") + "]";
      if (token.mark !== ",") refuse("syntax");
      token = next();
    }
  };
  const object = (depth) => {
    const members = new Map();
    let token = next();
    if (token.mark === "}") return "{}";
    for (;;) {
      if (token.string === undefined) refuse("syntax");
      const name = JSON.parse(token.string);
      if (next().mark !== ":") refuse("syntax");
      const text = value(next(), depth);
      if (members.has(name)) refuse("duplicate-name");
      members.set(name, text);
      token = next();
      if (token.mark === "}") break;
      if (token.mark !== ",") refuse("syntax");
      token = next();
    }
    // The default order of strings in JavaScript is by UTF-16 code units.
    return "{" + [...members.keys()].sort().map((n) => quote(n) + ":" + members.get(n)).join(",") + "}";
  };
  const out = value(next(), 0);
  if (/[^ \t\n\r]/.test(text.slice(at))) refuse("trailing-data");
  return out;
}

function quote(text) {
  if (!text.isWellFormed()) refuse("lone-surrogate");
  return JSON.stringify(text);
}

function number(text) {
  const [, sign, whole, fraction = "", exponent = "0"] = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE](.+))?$/.exec(text);
  const all = whole + fraction;
  const digits = all.replace(/^0+/, "").replace(/0+$/, "");
  if (digits === "") return "0";
  if (digits.length > 4096) refuse("too-many-digits");
  const p = BigInt(whole.length) - BigInt(/^0*/.exec(all)[0].length) + BigInt(exponent.replace("+", ""));
  if (p - 1n > 9999n || p - 1n < -9999n) refuse("exponent-out-of-range");
  const point = Number(p);
  const k = digits.length;
  if (k <= point && point <= 21) return sign + digits.padEnd(point, "0");
  if (point > 0 && point <= 21) return sign + digits.slice(0, point) + "." + digits.slice(point);
  if (point > -6 && point <= 0) return sign + "0." + "0".repeat(-point) + digits;
  return sign + digits[0] + (k > 1 ? "." + digits.slice(1) : "") + "e" + (point > 0 ? "+" : "") + (point - 1);
}

// Keys and request IDs

const utf8 = (text) => Buffer.from(text, "utf8");

function textOf(value) {
  if (value === "") refuse("empty");
  if (value.includes("\0")) refuse("NUL");
  return value;
}

function partText({ type, value }) {
  if (type === "int" || type === "uint") return BigInt(value).toString();
  if (type === "uuid") {
    if (/^[0-]*$/.test(value)) refuse("all-zero");
    return value.toLowerCase();
  }
  return textOf(value);
}

function encodeKey(c) {
  let out;
  if (c.parts === undefined) {
    let raw = c.raw;
    if (c.raw_hex !== undefined) {
      try {
        raw = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.from(c.raw_hex, "hex"));
      } catch {
        refuse("UTF-8");
      }
    }
    out = "=" + textOf(raw);
  } else {
    const parts = new Map();
    for (const part of c.parts) {
      if (!/^[a-z][a-z0-9_.-]{0,63}$/.test(part.name)) refuse("name");
      if (parts.has(part.name)) refuse("twice");
      parts.set(part.name, partText(part).replaceAll("%", "%25").replaceAll("/", "%2F"));
    }
    if (parts.size === 0) refuse("no parts");
    out = [...parts.keys()].sort().map((n) => n + "=" + parts.get(n)).join("/");
  }
  if (utf8(out).length > 512) refuse("length");
  return out;
}

function issuedAt(c) {
  if (c.parts !== undefined && c.parts.length !== 1) return undefined;
  const value = c.parts === undefined ? c.raw ?? "" : c.parts[0].value;
  let ms;
  if (/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i.test(value)) {
    ms = parseInt(value.slice(0, 8) + value.slice(9, 13), 16);
  } else if (/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(value) || /^[0-7][0-9a-hjkmnp-tv-z]{25}$/.test(value)) {
    ms = [...value.slice(0, 10).toUpperCase()].reduce((n, d) => n * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".indexOf(d), 0);
  }
  return ms >= 1577836800000 && ms < 4102444800000 ? ms : undefined;
}

function field(bytes) {
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(bytes.length));
  return Buffer.concat([length, bytes]);
}

function base32(bytes) {
  let bits = "";
  for (const b of bytes) bits += b.toString(2).padStart(8, "0");
  return bits.match(/.{1,5}/g).map((five) => "abcdefghijklmnopqrstuvwxyz234567"[parseInt(five.padEnd(5, "0"), 2)]).join("");
}

function requestID(scope, action, encoded) {
  if (scope === "" || utf8(scope).length > 256 || scope.includes("\0")) refuse("scope");
  if (!/^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/.test(action)) refuse("action");
  const hash = createHash("sha256");
  for (const text of ["onceguard/1", scope, action, encoded]) hash.update(field(utf8(text)));
  return "req_" + base32(hash.digest());
}

// Cases

const compute = {
  canonical: (_, c) => ({ canonical: canonical(c.input_hex === undefined ? utf8(c.input) : Buffer.from(c.input_hex, "hex")) }),
  keys: (_, c) => ({ encoded: encodeKey(c), issued_at_ms: issuedAt(c) }),
  requestids: (_, c) => {
    const encoded = encodeKey(c);
    const request_id = requestID(c.scope, c.action, encoded);
    const slot_key = c.slot === undefined ? undefined : encodeKey({
      parts: [{ name: "parent", type: "string", value: request_id }, { name: "slot", type: "string", value: c.slot }],
    });
    return { encoded, request_id, slot_key };
  },
  fingerprints: (file, c) => {
    const data = c.document !== undefined ? utf8(canonical(utf8(c.document)))
      : c.bytes_hex !== undefined ? Buffer.from(c.bytes_hex, "hex") : utf8(c.bytes);
    const mac = createHmac("sha256", Buffer.from(file.secret_hex, "hex"))
      .update(field(utf8("onceguard/fingerprint/1"))).update(field(utf8(c.kind))).update(data);
    return { fingerprint: `fp1:${file.key_id}:${mac.digest("hex")}` };
  },
};

const OUTPUTS = ["canonical", "encoded", "issued_at_ms", "request_id", "slot_key", "fingerprint"];
let total = 0;
let wrong = 0;
for (const [name, run] of Object.entries(compute)) {
  const file = JSON.parse(readFileSync(new URL(`./${name}.json`, import.meta.url), "ascii"));
  for (const c of file.cases) {
    total++;
    const want = c.refused === undefined ? JSON.stringify(OUTPUTS.map((k) => c[k])) : "refused";
    let got;
    try {
      const out = run(file, c);
      got = JSON.stringify(OUTPUTS.map((k) => out[k]));
    } catch (err) {
      if (!(err instanceof Refused)) throw err;
      got = "refused";
    }
    if (got !== want) {
      wrong++;
      console.log(`${name}.json: ${c.name}: got ${got}, want ${want}`);
    }
  }
}
console.log(`${total} vectors, ${wrong} wrong`);
process.exit(wrong > 0 || total === 0 ? 1 : 0);
