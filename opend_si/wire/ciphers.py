"""What stands between a body and the wire: nothing, RSA for InitConnect, AES for all that follows it. No I/O.

Both sides hold the same RSA private key. InitConnect goes under its public half in both directions; OpenD's reply
brings an AES-128 key of this connection alone. A frame's SHA-1 is that of the plain body, so it tells whether a body
was decrypted with the right key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from opend_si.errors import MissingExtra, ProtocolError
from opend_si_schema import common

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.ciphers import Cipher as Blocks
    from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

Algorithm = common.PacketEncAlgo
# What clients ask for, as the published ones do. OpenD's own default is FTAES_ECB, which shows equal blocks as equal.
ASKED_FOR = Algorithm.AES_CBC
SPOKEN = (Algorithm.AES_CBC, Algorithm.FTAES_ECB)

_AES_BLOCK = 16
# Longest body that is decrypted with RSA: InitConnect has some hundred bytes, and each block costs milliseconds.
_MAX_RSA_BYTES = 64 * 1024


class Cipher(Protocol):
    """Makes bodies what goes over the wire, and back."""

    @property
    def mismatch(self) -> str:
        """What a body `has` that does not come out as its SHA-1 says: the reason, and what to do."""

    def encrypt(self, body: bytes) -> bytes:
        """What goes over the wire."""

    def decrypt(self, sealed: bytes) -> bytes:
        """The body; `ValueError` if these bytes cannot be one."""


class Plain:
    """Not encrypted."""

    def __init__(self, mismatch: str = "does not match its SHA-1") -> None:
        self.mismatch = mismatch

    def encrypt(self, body: bytes) -> bytes:
        return body

    def decrypt(self, sealed: bytes) -> bytes:
        return sealed


class Rsa:
    """PKCS#1 v1.5, block by block, with a private key that both sides have."""

    mismatch = (
        "cannot be decrypted with the RSA key: the keys of the two sides differ. OpenD's rsa_private_key must be the key "
        "that rsa_key (or OPEND_RSA_KEY) names"
    )

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = key
        self.bits = key.key_size
        self._sealed_block = (key.key_size + 7) // 8
        # The padding takes 11 bytes; the published clients take 100 of 128, and OpenD's documentation says so.
        self._block = self._sealed_block * 100 // 128

    def encrypt(self, body: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        public = self._key.public_key()
        return b"".join(public.encrypt(block, PKCS1v15()) for block in _cut(body, self._block))

    def decrypt(self, sealed: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        if len(sealed) > _MAX_RSA_BYTES:
            raise ValueError(f"{len(sealed)} bytes are more than InitConnect ever has")
        # With the wrong key OpenSSL gives random bytes or an error, as it likes.
        return b"".join(self._key.decrypt(block, PKCS1v15()) for block in _cut(sealed, self._sealed_block))


class _Aes:
    """AES-128 with the key of one connection."""

    mismatch = (
        "cannot be decrypted with this connection's AES key: the keys of the two sides differ, or bytes were changed on the "
        "way. The next request opens a new connection"
    )

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.algorithms import AES128

        self._aes = AES128(key)
        self._blocks: Blocks[CBC] | Blocks[ECB]

    def _encrypt(self, padded: bytes) -> bytes:
        encryptor = self._blocks.encryptor()  # a fresh one for every message
        return encryptor.update(padded) + encryptor.finalize()

    def _decrypt(self, sealed: bytes) -> bytes:
        decryptor = self._blocks.decryptor()
        return decryptor.update(sealed) + decryptor.finalize()


class AesCbc(_Aes):
    """AES_CBC: PKCS#7 padding; every message begins at the connection's iv."""

    def __init__(self, key: bytes, iv: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher as Blocks
        from cryptography.hazmat.primitives.ciphers.modes import CBC
        from cryptography.hazmat.primitives.padding import PKCS7

        super().__init__(key)
        self._blocks, self._padding = Blocks(self._aes, CBC(iv)), PKCS7(8 * _AES_BLOCK)

    def encrypt(self, body: bytes) -> bytes:
        padder = self._padding.padder()
        return self._encrypt(padder.update(body) + padder.finalize())

    def decrypt(self, sealed: bytes) -> bytes:
        unpadder = self._padding.unpadder()
        return unpadder.update(self._decrypt(sealed)) + unpadder.finalize()


class FtAesEcb(_Aes):
    """FTAES_ECB: zeros up to a whole block.

    A plain block behind it whose last byte is the body's length modulo 16.
    """

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher as Blocks
        from cryptography.hazmat.primitives.ciphers.modes import ECB

        super().__init__(key)
        self._blocks = Blocks(self._aes, ECB())  # noqa: S305 - the wire's

    def encrypt(self, body: bytes) -> bytes:
        padded = body + bytes(-len(body) % _AES_BLOCK)
        mark = bytes(_AES_BLOCK - 1) + bytes([len(body) % _AES_BLOCK])
        return self._encrypt(padded) + mark

    def decrypt(self, sealed: bytes) -> bytes:
        if len(sealed) < _AES_BLOCK:
            raise ValueError("no length mark")
        padded, mark = self._decrypt(sealed[:-_AES_BLOCK]), sealed[-1]
        return padded[: len(padded) - (_AES_BLOCK - mark)] if mark else padded


def connection_cipher(asked_for: Algorithm, key: str, iv: str) -> Cipher:
    """What encrypts after InitConnect, by its reply.

    A reply without an iv to a client that asked for AES_CBC comes from an OpenD that speaks FTAES_ECB, its default:
    without an iv there is no CBC to speak, and the published clients go by it, too. Who asked for FTAES_ECB gets that,
    iv or not.
    """
    secret = _sixteen_bytes("AES key", key)
    if asked_for is Algorithm.FTAES_ECB or not iv:
        return FtAesEcb(secret)
    return AesCbc(secret, _sixteen_bytes("iv", iv))


def require_cryptography() -> None:
    """`MissingExtra` if the extra is not installed."""
    try:
        import cryptography.hazmat.primitives.asymmetric.rsa
        import cryptography.hazmat.primitives.ciphers  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"an encrypted connection needs cryptography ({error}): pip install 'opend-short-interest[encrypt]'"
        ) from None


def _sixteen_bytes(what: str, text: str) -> bytes:
    value = text.encode()
    if len(value) != _AES_BLOCK:
        # Not the value itself: it is a secret.
        raise ProtocolError(f"the reply to InitConnect has an {what} of {len(value)} bytes, not of {_AES_BLOCK}")
    return value


def _cut(data: bytes, length: int) -> list[bytes]:
    return [data[place : place + length] for place in range(0, len(data), length)]
