"""An Ethereum wallet that signs messages (EIP-191), for the verifications that need one. Tests only: k is not random."""

import hashlib

from Crypto.Hash import keccak

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
     0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8)


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    slope = (3 * a[0] * a[0] * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(number, point):
    result = None
    while number:
        if number & 1:
            result = add(result, point)
        point, number = add(point, point), number >> 1
    return result


def digest(data):
    return keccak.new(digest_bits=256, data=data).digest()


class Wallet:
    def __init__(self, seed=1):
        self._key = int.from_bytes(hashlib.sha256(b"creel contract %d" % seed).digest(), "big") % N
        x, y = times(self._key, G)
        self.address = "0x" + digest(x.to_bytes(32, "big") + y.to_bytes(32, "big"))[-20:].hex()

    def sign(self, message):
        data = message.encode()
        z = int.from_bytes(digest(b"\x19Ethereum Signed Message:\n%d" % len(data) + data), "big")
        k = int.from_bytes(hashlib.sha256(self._key.to_bytes(32, "big") + z.to_bytes(32, "big")).digest(), "big") % N
        x, y = times(k, G)
        s = pow(k, -1, N) * (z + x * self._key) % N
        odd = y & 1
        if s > N // 2:
            s, odd = N - s, 1 - odd
        return "0x" + x.to_bytes(32, "big").hex() + s.to_bytes(32, "big").hex() + bytes([27 + odd]).hex()
