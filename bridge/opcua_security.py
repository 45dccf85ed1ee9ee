"""Who may use the OPC UA server, and how it is encrypted.

Without a certificate it is open and unencrypted, and so for this PC only: any other address is refused at the start. With one,
only encrypted and signed channels are offered, only clients whose own certificate lies in `bridge.opcua.trusted` get a session,
and, where a user is set, only with that user's password.
"""

import hmac
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.crypto.permission_rules import SimpleRoleRuleset, User, UserRole
from asyncua.server.user_managers import UserManager
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from senbetsu.config import OpcUaSection
from senbetsu.errors import UserError

ENCRYPTED = [
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
]


class Access(UserManager):
    """Decides on each session."""

    def __init__(self, section: OpcUaSection) -> None:
        """Raises UserError for settings that contradict each other, and for files that cannot be read."""
        self.encrypted = section.certificate is not None
        self.user = section.user
        _check(section)
        self._password = b"" if section.password_file is None else _read(section.password_file, "password_file").strip()
        if self.user is not None and not self._password:
            raise UserError(
                f"bridge.opcua.password_file = {str(section.password_file)!r} is empty: write the password into it"
            )
        self._trusted = frozenset() if section.trusted is None else trusted_certificates(section.trusted)

    def get_user(  # the library passes its server by this name
        self, iserver: Any, username: str | None = None, password: str | bytes | None = None, certificate: Any = None
    ) -> User | None:
        """A user, never an administrator; None: no session."""
        del iserver
        if self.encrypted and (certificate is None or fingerprint(certificate) not in self._trusted):
            return None
        if self.user is None:
            return User(role=UserRole.User) if username is None else None
        given = password.encode() if isinstance(password, str) else password or b""
        right = hmac.compare_digest(given, self._password)
        return User(role=UserRole.User, name=username) if right and username == self.user else None


async def secure(server: Server, section: OpcUaSection, access: Access) -> None:
    """Policies, certificate and kinds of log-in."""
    await server.set_application_uri("urn:senbetsu:bridge:server")
    rules = SimpleRoleRuleset()  # type: ignore[no-untyped-call]
    if access.encrypted:
        try:
            await server.load_certificate(str(section.certificate))
            await server.load_private_key(str(section.private_key))
        except (OSError, ValueError) as error:
            raise UserError(
                f"bridge.opcua.certificate = {str(section.certificate)!r}, private_key = {str(section.private_key)!r}: "
                f"cannot be read: {error}"
            ) from error
        server.set_security_policy(ENCRYPTED, permission_ruleset=rules)
    else:
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity], permission_ruleset=rules)
    server.set_identity_tokens([ua.AnonymousIdentityToken if access.user is None else ua.UserNameIdentityToken])


def fingerprint(certificate: Any) -> bytes:
    """SHA-256 of a certificate, whether parsed or DER."""
    if not isinstance(certificate, x509.Certificate):
        certificate = x509.load_der_x509_certificate(certificate)
    digest: bytes = certificate.fingerprint(SHA256())
    return digest


def trusted_certificates(folder: Path) -> frozenset[bytes]:
    """Fingerprints of the certificates in a folder. Raises UserError for a folder without one, and for a file that is none."""
    found = set()
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        data = _read(path, "trusted")
        try:
            parse = x509.load_pem_x509_certificate if data.startswith(b"-----") else x509.load_der_x509_certificate
            found.add(fingerprint(parse(data)))
        except ValueError as error:
            raise UserError(f"bridge.opcua.trusted: {path}: not a certificate (PEM or DER): {error}") from error
    if not found:
        raise UserError(f"bridge.opcua.trusted = {str(folder)!r}: no client certificate in it, so nobody could connect")
    return frozenset(found)


def _check(section: OpcUaSection) -> None:
    if (section.certificate is None) != (section.private_key is None):
        raise UserError("bridge.opcua: certificate and private_key go together; set both or neither")
    if (section.user is None) != (section.password_file is None):
        raise UserError("bridge.opcua: user and password_file go together; set both or neither")
    if section.certificate is None:
        if not _is_loopback(section.host):
            raise UserError(
                f"bridge.opcua.host = {section.host!r} is reached from other PCs: that takes certificate, private_key and "
                "trusted; or set it to 127.0.0.1"
            )
        if section.user is not None:
            raise UserError(
                "bridge.opcua.user: without a certificate its password would go over the wire in clear; set certificate"
            )
    elif section.trusted is None:
        raise UserError(
            "bridge.opcua.trusted: name the folder of the clients' certificates; without one nobody could connect"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"bridge.opcua.{setting} = {str(path)!r}: cannot be read: {error.strerror}") from error
