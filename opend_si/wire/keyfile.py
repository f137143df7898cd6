"""The RSA private key that OpenD and its clients share, read from its file. It goes into a cipher and nowhere else."""

from __future__ import annotations

from pathlib import Path

from opend_si.wire.ciphers import Rsa, require_cryptography
from opend_si.wire.errors import NoKey

# Bytes of the longest key file; a key of 16384 bits has 13 KB.
_LONGEST = 64 * 1024
_OPENDS = "rsa_key (or OPEND_RSA_KEY) names the private key file that OpenD has (rsa_private_key in its configuration)"


def read_key(path: Path) -> Rsa:
    """The key in a file: PEM, PKCS#1 (as OpenD takes it) or PKCS#8.

    Raises:
        NoKey: no such key can be had from the file.
        MissingExtra: `cryptography` is not installed.

    """
    require_cryptography()
    return _parse(path, _read(path))


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise NoKey(f"{path} is a folder, not an RSA key file: {_OPENDS}.")
        if path.exists() and not path.is_file():
            raise NoKey(f"{path} is no file that can be read again for each connection: {_OPENDS}.")
        with path.open("rb") as file:
            return file.read(_LONGEST)
    except NoKey:  # which is a ValueError
        raise
    except FileNotFoundError:
        raise NoKey(f"There is no RSA key file {path}: {_OPENDS}.") from None
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise NoKey(f"The RSA key file {path} cannot be read ({told}): {_OPENDS}.") from None


def _parse(path: Path, data: bytes) -> Rsa:
    # Errors of the parser are not passed on: what they quote is not ours to show.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if b"-----BEGIN OPENSSH PRIVATE KEY-----" in data:
        raise NoKey(
            f"The key in {path} is in OpenSSH's own form, which OpenD does not take: `ssh-keygen -p -m PEM -f {path}` makes it "
            "PKCS#1."
        )
    if b"PRIVATE KEY-----" not in data and b"PUBLIC KEY-----" in data:
        raise NoKey(f"{path} holds a public key; OpenD and its clients share the private one: {_OPENDS}.")
    try:
        # Whether its factors are prime is not asked: that takes half a second for 4096 bits, at every connection, and
        # OpenD has the same file.
        key = load_pem_private_key(data, password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise NoKey(
            f"The key in {path} is protected with a passphrase, which OpenD does not take either: name the file without one."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise NoKey(f"{path} is no RSA private key in PEM form (PKCS#1 or PKCS#8): {_OPENDS}.") from None
    if not isinstance(key, RSAPrivateKey):
        raise NoKey(f"The private key in {path} is not an RSA key: {_OPENDS}.")
    cipher = Rsa(key)
    if not _is_sound(cipher):
        raise NoKey(f"The RSA key in {path} is damaged: what it encrypts it cannot decrypt. {_OPENDS}.")
    return cipher


def _is_sound(cipher: Rsa) -> bool:
    try:
        return cipher.decrypt(cipher.encrypt(b"sound")) == b"sound"
    except ValueError:
        return False
