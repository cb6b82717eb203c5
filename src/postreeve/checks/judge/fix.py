"""The exact thing to do about a cause at this endpoint: host, port, mode and names filled in.

What depends on the endpoint is here; for every other cause the catalogue's own fix is filled in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from postreeve.checks.facts import Intent
from postreeve.checks.judge.case import IMPLICIT_PORTS, Case, ipaddress_version, is_loopback, is_private
from postreeve.checks.judge.mode import mode_lines
from postreeve.checks.knowledge import causes, fill
from postreeve.ports.network import by_id

_BLANK: Final = re.compile(r"\{(\w+)\}")

_TEXTS: Final[Mapping[str, str]] = {
    "local-forbidden": (
        "Allow this machine to connect out to port {port}: nft list ruleset | grep -n 'dport' shows the rule; a "
        "systemd unit needs IPAddressAllow={address}, SELinux setsebool -P httpd_can_sendmail on."
    ),
    "source-address": (
        "Use an address that this machine has (ip -br addr), or add it: ip addr add {source} dev DEVICE. Postfix: "
        "smtp_bind_address; Exim: interface."
    ),
    "no-route": "Give this machine a way out: ip route get {address} must name a gateway; then try again.",
    "tcp-unreachable-v6": (
        "Use IPv4 for {host}: Postfix inet_protocols = ipv4; Node family: 4; curl -4; or give this machine a route "
        "for IPv6 (ip -6 route)."
    ),
    "ipv6-broken": (
        "Until IPv6 works on the way to {address}, use IPv4 for {host}: Postfix inet_protocols = ipv4 (or "
        "smtp_address_preference = ipv4), Node family: 4, curl -4. If the server is yours: mend its IPv6, or take "
        "its AAAA record out of the DNS."
    ),
    "port-25-blocked": (
        "From here port 25 is closed. A program submits on another port:\n{other}\nA mail server asks its provider "
        "to open outbound port 25 ({platform}{unblock}), or relays through a smarthost: Postfix "
        "relayhost = [SMARTHOST]:587."
    ),
    "blocked-by-network": (
        "This network ({platform}) lets no packets to port {port} through. Ask it to open outbound TCP {port}, or "
        "use a port that it lets through: postreeve ports {host} says which."
    ),
    "blocked-far-side": (
        "On the server: open TCP {port} in its firewall and its provider's security group for your address (nft add "
        "rule inet filter input tcp dport {port} accept). Nothing on this side helps, but another of its open ports."
    ),
    "blocked-on-the-way": (
        "The firewall at {sender} refuses TCP {port}: ask whoever runs it (whois {sender}) to let it through, or use "
        "another port: postreeve ports {host}."
    ),
    "banner-not-smtp": "Port {port} of {host} speaks {protocol}. Use the port for mail submission:\n{other}",
    "plain-to-tls": (
        "Port {port} of {host} speaks TLS from the first octet. Set the mode to implicit TLS:\n{implicit}"
    ),
    "tls-to-plain": "Port {port} of {host} speaks SMTP in the clear first. Set the mode to STARTTLS:\n{starttls}",
    "starttls-missing": (
        "If {host} is yours: give it a certificate and switch STARTTLS on (Postfix: smtpd_tls_cert_file, "
        "smtpd_tls_key_file, smtpd_tls_security_level = may). Otherwise use its port 465:\n{other}"
    ),
    "starttls-stripped": (
        "Something between here and {host} removes STARTTLS. Use implicit TLS, which it cannot edit:\n{other}\nor "
        "have the device's SMTP inspection switched off; never go on without TLS."
    ),
    "starttls-injected": (
        "If {host} is yours: update the server, which must forget what it had read when STARTTLS comes "
        "(CVE-2011-0411). If not: somebody on the way writes into the connection; use implicit TLS:\n{other}"
    ),
    "tls-protocol": (
        "On {host}: switch TLS 1.2 and 1.3 on (Postfix: smtpd_tls_protocols = >=TLSv1.2); it offers {versions} only. "
        "Until then, for this host only: MinProtocol = TLSv1 and CipherString = DEFAULT@SECLEVEL=0."
    ),
    "tls-alert": (
        "Look into the log of {host} for the handshake that ended with {alert}, at the second of this probe."
    ),
    "sni-unrecognized": ("Put another name into the host setting, {good}: the server knows none called “{host}”."),
    "cert-selfsigned": (
        "On {host}: install a certificate of a public authority: {issue}. For a server that stays "
        "private, trust exactly this certificate in the client; do not switch verification off."
    ),
    "cert-chain-root": (
        "Install the root certificate {issuer} where this client looks for authorities (Debian: "
        "/usr/local/share/ca-certificates, then update-ca-certificates). If it is an antivirus program's: exclude "
        "{host}:{port}."
    ),
    "cert-private-root": (
        "Install the certificate of {issuer} where this client looks for authorities (Debian: "
        "/usr/local/share/ca-certificates, then update-ca-certificates), or have {host} use a public authority."
    ),
    "cert-missing-intermediate": (
        "On {host}: serve the whole chain, leaf first, then {missing}: with certbot fullchain.pem in place of "
        "cert.pem (Postfix: smtpd_tls_chain_files = KEY, fullchain.pem); then reload."
    ),
    "cert-expired": (
        "On {host}: renew and reload: certbot renew --deploy-hook 'systemctl reload postfix dovecot'. If the file is "
        "new already, the server was not reloaded."
    ),
    "cert-hostname": (
        "Use the name in the certificate as host ({good}), or have the certificate issued for {host}: {issue}."
    ),
    "cert-ip": "Put the name into the host setting in place of {host}: {good}.",
    "cert-revoked": (
        "On {host}: have a new certificate issued with a new key (certbot renew --force-renewal --new-key), install "
        "it and reload."
    ),
    "auth-before-tls": "Switch STARTTLS on, then log in:\n{starttls}",
    "auth-not-offered": (
        "Log in where the server offers it, which is a submission port and not {host}:{port}:\n{other}\nIf it is "
        "yours: smtpd_sasl_auth_enable = yes (Postfix). Beware: some libraries send without a login and say nothing."
    ),
    "auth-in-clear": "Use TLS before the login:\n{starttls}",
    "tls-timeout": (
        "On {host}: find out why it stops after the ClientHello (its log of this second); try TLS 1.2 only (openssl "
        "s_client -tls1_2 -starttls smtp -connect {host}:{port}) to see whether the large ClientHello is to blame."
    ),
    "no-reply": (
        "On {host}: find out what it waits for at {where} (a slow DNS lookup, milter or password service); its log "
        "of this second says. RFC 5321, section 4.5.3.2, lets it take 5 minutes: give the client a longer time-out."
    ),
    "dnsbl": (
        "Look your address up at {list} and ask for removal there; a dynamic or cloud address sends through a "
        "smarthost: Postfix relayhost = [SMARTHOST]:587."
    ),
    "helo-fqdn": "Set the client's EHLO name to a full host name that resolves: {name_setting}",
    "null-mx": (
        "{domain} publishes “MX 0 .”: it takes no mail. Correct the address, or, for a domain of yours, the record: "
        "{domain}. IN MX 10 MAILHOST.{domain}."
    ),
    "no-mx": (
        "{domain} has neither an MX nor an address record. Correct the domain, or, if it is yours, publish: "
        "{domain}. IN MX 10 mail.{domain}."
    ),
    "no-srv": (
        "{domain} publishes no submission service. Take the host from its provider's page, or, if it is yours, "
        "publish: _submissions._tcp.{domain}. IN SRV 0 1 465 mail.{domain}."
    ),
    "dnssec-bogus": (
        "The zone's signatures do not verify: have whoever runs it sign it again and compare DS with DNSKEY (delv "
        "{host}); a validating resolver is right to refuse."
    ),
    "split-horizon": (
        "From here {host} is {address}, elsewhere it is {elsewhere}. Use the network the inner address belongs to, "
        "or correct /etc/hosts or the inner zone."
    ),
}


def fix_for(cause: str, case: Case, **known: str) -> str:
    """What to paste or do. Blanks that nobody knows stand as their word in capitals."""
    return fix_text(cause, _blanks(case) | {key: value for key, value in known.items() if value})


def fix_text(cause: str, known: Mapping[str, str]) -> str:
    """The same where there is no endpoint."""
    text = _TEXTS.get(cause)
    if text is None:
        entry = causes().get(cause)
        return fill(entry.fix, known) if entry is not None else ""
    return _BLANK.sub(lambda blank: known.get(blank[1], "") or ("" if blank[1] in known else blank[1].upper()), text)


def _blanks(case: Case) -> dict[str, str]:
    host, port, library = case.host, case.endpoint.port, case.asked.library
    network = by_id(case.facts.vantage.platform) if case.facts.vantage.platform else None
    domain = case.asked.target.rpartition(":")[2] if case.asked.target.count(":") == 1 else case.asked.target
    return {
        "host": host,
        "port": str(port),
        "address": case.endpoint.address,
        "name": case.asked.hello_name,
        "domain": domain.rpartition("@")[2],
        "sender": case.asked.mail_from,
        "recipient": case.asked.recipient,
        "platform": network.name if network else "this host's provider or the company's firewall",
        "unblock": f"; there: {network.unblock}" if network and network.unblock else "",
        "implicit": mode_lines(library, host, port, Intent.IMPLICIT),
        "starttls": mode_lines(library, host, port, Intent.STARTTLS),
        "other": _other_port(case),
        "issue": _issue(case),
        "good": "the name its operator publishes",
        "versions": "old versions",
        "name_setting": _name_setting(library),
    }


def _issue(case: Case) -> str:
    """How a certificate for this host is had; a public authority knows no names of one label and no inner hosts."""
    is_public = "." in case.host and not is_private(case.endpoint.address) and not ipaddress_version(case.host)
    return f"certbot certonly -d {case.host}" if is_public else f"your own authority, with {case.host} as a name"


def _other_port(case: Case) -> str:
    """Settings for a port of this host that takes submissions: one that answered, else 465, else 587."""
    host, library = case.host, case.asked.library
    if case.endpoint.port in IMPLICIT_PORTS or is_loopback(case.endpoint.address):
        return mode_lines(library, host, 587, Intent.STARTTLS)
    return mode_lines(library, host, 465, Intent.IMPLICIT)


def _name_setting(library: str) -> str:
    settings = {
        "python": 'smtplib.SMTP(host, port, local_hostname="app.example.com")',
        "nodemailer": 'name: "app.example.com"',
        "javamail": "mail.smtp.localhost=app.example.com",
        "spring": "spring.mail.properties.mail.smtp.localhost=app.example.com",
        "phpmailer": "$mail->Helo = 'app.example.com';",
        "postfix": "smtp_helo_name = app.example.com",
        "django": "a host name with a dot for the machine (socket.getfqdn()), hostnamectl hostname app.example.com",
    }
    default = (
        "smtplib local_hostname=, nodemailer name:, JavaMail mail.smtp.localhost=, Postfix smtp_helo_name =, "
        "with a name such as app.example.com"
    )
    return settings.get(library.lower(), default)
