// Writes tests/golden/webauthn/*.json: registrations recorded from Chromium's virtual authenticator, and some made here
// with node's own cryptography, whose keys sign for themselves (Chromium's does not do that).
//
//   NODE_PATH=$(tests/chain/install.sh)/node_modules node tests/chain/record_registrations.js
'use strict';
const crypto = require('node:crypto');
const {spawn} = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');

const folder = path.join(__dirname, '../golden/webauthn');
const challenge = '00112233445566778899aabbccddeeff'.repeat(2);
const write = (name, object) => fs.writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(object, null, 2) + '\n');

// CBOR, as much as is needed.
const head = (major, value) => value < 24 ? Buffer.from([major << 5 | value])
  : value < 256 ? Buffer.from([major << 5 | 24, value]) : Buffer.from([major << 5 | 25, value >> 8, value & 255]);
const number = (value) => value < 0 ? head(1, -1 - value) : head(0, value);
const bytes = (value) => Buffer.concat([head(2, value.length), value]);
const text = (value) => Buffer.concat([head(3, value.length), Buffer.from(value)]);
const map = (...pairs) => Buffer.concat([head(5, pairs.length), ...pairs.flat()]);
const from64 = (value) => Buffer.from(value, 'base64url');

const kinds = {
  es256: {
    pair: () => crypto.generateKeyPairSync('ec', {namedCurve: 'P-256'}),
    cose: (jwk) => map([number(1), number(2)], [number(3), number(-7)], [number(-1), number(1)],
                       [number(-2), bytes(from64(jwk.x))], [number(-3), bytes(from64(jwk.y))]),
    algorithm: -7,
    hash: 'sha256',
  },
  rs256: {
    pair: () => crypto.generateKeyPairSync('rsa', {modulusLength: 2048}),
    cose: (jwk) => map([number(1), number(3)], [number(3), number(-257)], [number(-1), bytes(from64(jwk.n))],
                       [number(-2), bytes(from64(jwk.e))]),
    algorithm: -257,
    hash: 'sha256',
  },
  eddsa: {
    pair: () => crypto.generateKeyPairSync('ed25519'),
    cose: (jwk) => map([number(1), number(1)], [number(3), number(-8)], [number(-1), number(6)],
                       [number(-2), bytes(from64(jwk.x))]),
    algorithm: -8,
    hash: null,
  },
};

function self_attested(kind) {
  const origin = 'http://localhost:8080';
  const {publicKey, privateKey} = kind.pair();
  const id = crypto.randomBytes(32);
  const data = Buffer.concat([
    crypto.createHash('sha256').update('localhost').digest(), Buffer.from([0x41]), Buffer.alloc(4), Buffer.alloc(16),
    Buffer.from([0, id.length]), id, kind.cose(publicKey.export({format: 'jwk'})),
  ]);
  const client = Buffer.from(JSON.stringify({type: 'webauthn.create', challenge, origin, crossOrigin: false}));
  const signed = Buffer.concat([data, crypto.createHash('sha256').update(client).digest()]);
  const signature = crypto.sign(kind.hash, signed, privateKey);
  const object = map([text('fmt'), text('packed')],
                     [text('attStmt'), map([text('alg'), number(kind.algorithm)], [text('sig'), bytes(signature)])],
                     [text('authData'), bytes(data)]);
  return {origin, challenge, credential: {
    id: id.toString('base64url'),
    rawId: id.toString('base64url'),
    type: 'public-key',
    response: {clientDataJSON: client.toString('base64url'), attestationObject: object.toString('base64url')},
  }};
}

async function main() {
  const browser = spawn(process.execPath, [path.join(__dirname, 'browser.js')], {stdio: ['pipe', 'pipe', 'inherit']});
  const lines = readline.createInterface({input: browser.stdout})[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value);
  const origin = (await next()).origins[0];
  const options = {
    rp: {id: 'localhost', name: 'Creel'},
    user: {id: 'dXNlcg', name: 'ann', displayName: 'ann'},
    challenge,
    pubKeyCredParams: [{type: 'public-key', alg: -7}],
    authenticatorSelection: {residentKey: 'discouraged', userVerification: 'preferred'},
    attestation: 'none',
  };
  for (const [name, more] of Object.entries({
    none: {},
    packed: {attestation: 'direct'},
    fido_u2f: {attestation: 'direct', protocol: 'u2f'},
  })) {
    browser.stdin.write(JSON.stringify({op: 'register', options, ...more}) + '\n');
    write(name, {origin, challenge, credential: (await next()).credential});
  }
  browser.stdin.end();
  for (const [name, kind] of Object.entries(kinds)) write(`self_${name}`, self_attested(kind));
}

main();
