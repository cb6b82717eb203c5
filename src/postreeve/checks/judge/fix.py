"""The exact thing to do about a cause at this endpoint: host, port, mode and names filled in.

What depends on the endpoint is here; for every other cause the catalogue's own fix is filled in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from postreeve.checks.facts import Intent
from postreeve.checks.judge.case import (
    IMPLICIT_PORTS,
    STARTTLS_PORTS,
    Case,
    first,
    ipaddress_version,
    is_loopback,
    is_private,
)
from postreeve.checks.judge.mode import mode_lines
from postreeve.checks.knowledge import causes, fill
from postreeve.checks.path import ControlRole, DialOutcome
from postreeve.ports.network import by_id

_BLANK: Final = re.compile(r"\{(\w+)\}")

_TEXTS: Final[Mapping[str, str]] = {
    "local-forbidden": (
        "Allow this machine to connect out to port {port}. Which rule forbids it:\n  nft list ruleset | grep -n dport\n"
        "A systemd unit needs:\n  IPAddressAllow={address}\nSELinux needs:\n  setsebool -P httpd_can_sendmail on"
    ),
    "source-address": (
        "Use an address that this machine has, or give it this one:\n  ip -br addr\n"
        "  ip addr add {source} dev DEVICE\nPostfix has it in smtp_bind_address, Exim in interface."
    ),
    "no-route": "Give this machine a way out; this must name a gateway:\n  ip route get {address}",
    "tcp-timeout": (
        "Which port of {host} answers from here, and why others do not:\n  postreeve ports {host}\nWhere none "
        "does: the host is down, its address is wrong, or a firewall drops what comes from here; try from elsewhere."
    ),
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
        "use a port that it lets through:\n  postreeve ports {host}"
    ),
    "blocked-far-side": (
        "On the server, open TCP {port} in its firewall and in its provider's security group:\n  nft add rule inet "
        "filter input tcp dport {port} accept\nNothing on this side helps, but another of its open ports:\n"
        "  postreeve ports {host}"
    ),
    "blocked-on-the-way": (
        "The firewall at {sender} refuses TCP {port}. Ask whoever runs it to let it through, or use another port:\n"
        "  whois {sender}\n  postreeve ports {host}"
    ),
    "immediate-close": (
        "On {host}, look for your address in the log of this second and among the banned:\n"
        "  journalctl --since -10min | grep -F {from}\n  fail2ban-client banned {from}\n"
        "A proxy in front of a server that is down hangs up like this too."
    ),
    "banner-not-smtp": "Port {port} of {host} speaks {protocol}. Use the port for mail submission:\n{other}",
    "plain-to-tls": (
        "Port {port} of {host} speaks TLS from the first octet. Set the mode to implicit TLS:\n{implicit}"
    ),
    "tls-to-plain": "Port {port} of {host} speaks SMTP in the clear first. Set the mode to STARTTLS:\n{starttls}",
    "starttls-missing": (
        "If {host} is yours, give it a certificate and switch STARTTLS on (Postfix):\n  postconf -e "
        "smtpd_tls_chain_files=KEY,FULLCHAIN smtpd_tls_security_level=may && postfix reload\n"
        "Otherwise use a port of it that has TLS:\n{other}"
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
        "On {host}, which offers {versions} only, switch TLS 1.2 and 1.3 on (Postfix):\n  postconf -e "
        "'smtpd_tls_protocols = >=TLSv1.2' && postfix reload\nUntil then, for this host only, in the client's "
        "OpenSSL settings:\n  MinProtocol = TLSv1\n  CipherString = DEFAULT@SECLEVEL=0"
    ),
    "tls-alert": (
        "Look into the log of {host} for the handshake that ended with {alert}, at the second of this probe."
    ),
    "sni-unrecognized": ("Put another name into the host setting, {good}: the server knows none called “{host}”."),
    "cert-selfsigned": (
        "On {host}, install a certificate of an authority that clients know:\n  {issue}\nFor a server that stays "
        "private, trust exactly this certificate in the client; do not switch verification off."
    ),
    "cert-chain-root": (
        "Install the root certificate {issuer} where this client looks for authorities (Debian):\n"
        "  cp ROOT.crt /usr/local/share/ca-certificates/ && update-ca-certificates\n"
        "If it is an antivirus program's, exclude {host}:{port} there."
    ),
    "cert-private-root": (
        "Install the certificate of {issuer} where this client looks for authorities (Debian):\n"
        "  cp ROOT.crt /usr/local/share/ca-certificates/ && update-ca-certificates\n"
        "or, where {host} is a public name, have it use an authority that clients know:\n  certbot certonly -d {host}"
    ),
    "cert-missing-intermediate": (
        "On {host}, serve the whole chain, leaf first, then {missing}; of certbot's files that is fullchain.pem, not "
        "cert.pem (Postfix):\n  postconf -e smtpd_tls_chain_files=PRIVKEY.pem,FULLCHAIN.pem && postfix reload"
    ),
    "cert-expired": (
        "On {host}, renew and reload; if the file is new already, reloading is what was forgotten:\n"
        "  certbot renew --deploy-hook 'systemctl reload postfix dovecot'"
    ),
    "cert-hostname": (
        "Use the name in the certificate as host ({good}), or have the certificate issued for {host}:\n  {issue}"
    ),
    "cert-ip": "Put the name into the host setting in place of {host}: {good}.",
    "cert-revoked": (
        "On {host}, have a new certificate issued with a new key, install it and reload:\n"
        "  certbot renew --force-renewal --new-key --deploy-hook 'systemctl reload postfix dovecot'"
    ),
    "auth-before-tls": "Switch STARTTLS on, then log in:\n{starttls}",
    "auth-not-offered": (
        "Log in where the server offers it, which is a submission port and not {host}:{port}:\n{other}\nIf it is "
        "yours (Postfix):\n  postconf -e smtpd_sasl_auth_enable=yes && postfix reload\n"
        "Beware: some libraries send without a login and say nothing."
    ),
    "auth-in-clear": "Use TLS before the login:\n{secured}",
    "tls-timeout": (
        "On {host}, find out why it stops after the ClientHello (its log of this second). Whether a large ClientHello "
        "is to blame:\n  openssl s_client -tls1_2 {s_client} -connect {host}:{port}"
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
        "{domain} publishes “MX 0 .”: it takes no mail. Correct the address, or, for a domain of yours, the record:\n"
        "  {domain}. IN MX 10 mail.{domain}."
    ),
    "no-mx": (
        "{domain} has neither an MX nor an address record. Correct the domain, or, if it is yours, publish:\n"
        "  {domain}. IN MX 10 mail.{domain}."
    ),
    "no-srv": (
        "{domain} publishes no submission service. Take the host from its provider's page, or, if it is yours, "
        "publish:\n  _submissions._tcp.{domain}. IN SRV 0 1 465 mail.{domain}."
    ),
    "dnssec-bogus": (
        "The zone's signatures do not verify: have whoever runs it sign it again and compare DS with DNSKEY; a "
        "validating resolver is right to refuse:\n  delv {host}"
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
        "secured": mode_lines(library, host, port, Intent.STARTTLS),
        "other": other_port(case),
        "issue": _issue(case),
        "from": first(dial.local_address for dial in case.endpoint.dials) or "YOUR-ADDRESS",
        "s_client": "" if port in IMPLICIT_PORTS else "-starttls smtp",
        "good": "the name its operator publishes",
        "versions": "old versions",
        "name_setting": _name_setting(library),
    }


def _issue(case: Case) -> str:
    """How a certificate for this host is had; a public authority knows no names of one label and no inner hosts."""
    is_public = "." in case.host and not is_private(case.endpoint.address) and not ipaddress_version(case.host)
    return (
        f"certbot certonly -d {case.host}" if is_public else f"(issued by your own authority for the name {case.host})"
    )


def other_port(case: Case) -> str:
    """Settings for a port of this host that takes submissions: one that answered, else one that was not tried."""
    host, library = case.host, case.asked.library
    tried = case.controls(ControlRole.OTHER_PORT)
    for one in sorted(tried, key=lambda control: control.dial.port not in IMPLICIT_PORTS):
        if one.dial.outcome is not DialOutcome.OPEN or one.dial.port == 25:
            continue
        if one.dial.port in IMPLICIT_PORTS:
            return mode_lines(library, host, one.dial.port, Intent.IMPLICIT)
        if one.dial.port in STARTTLS_PORTS and one.banner.startswith("220"):
            return mode_lines(library, host, one.dial.port, Intent.STARTTLS)
    left = {465, 587} - {one.dial.port for one in tried} - {case.endpoint.port}
    if 465 in left and not is_loopback(case.endpoint.address):
        return mode_lines(library, host, 465, Intent.IMPLICIT)
    return mode_lines(library, host, 587, Intent.STARTTLS) if left else f"  postreeve ports {host}"


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
