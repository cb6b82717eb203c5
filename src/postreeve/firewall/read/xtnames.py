"""Names that rules for iptables may use in place of numbers, in files written by hand; iptables-save has numbers."""

from __future__ import annotations

from typing import Final

from postreeve.firewall.flow import Family, Protocol

PROTOCOLS: Final = {
    Family.IPV4: {
        "tcp": Protocol.TCP,
        "6": Protocol.TCP,
        "udp": Protocol.UDP,
        "17": Protocol.UDP,
        "icmp": Protocol.ICMP,
        "1": Protocol.ICMP,
    },
    Family.IPV6: {
        "tcp": Protocol.TCP,
        "6": Protocol.TCP,
        "udp": Protocol.UDP,
        "17": Protocol.UDP,
        "ipv6-icmp": Protocol.ICMP,
        "icmpv6": Protocol.ICMP,
        "58": Protocol.ICMP,
    },
}
PORTS: Final = {
    "ssh": 22,
    "smtp": 25,
    "domain": 53,
    "http": 80,
    "pop3": 110,
    "ntp": 123,
    "imap": 143,
    "imap2": 143,
    "https": 443,
    "submissions": 465,
    "smtps": 465,
    "ssmtp": 465,
    "urd": 465,
    "submission": 587,
    "imaps": 993,
    "pop3s": 995,
    "bootps": 67,
    "bootpc": 68,
    "mdns": 5353,
}
ICMP_TYPES: Final = {
    Family.IPV4: {
        "echo-reply": 0,
        "pong": 0,
        "destination-unreachable": 3,
        "source-quench": 4,
        "redirect": 5,
        "echo-request": 8,
        "ping": 8,
        "router-advertisement": 9,
        "router-solicitation": 10,
        "time-exceeded": 11,
        "ttl-exceeded": 11,
        "parameter-problem": 12,
        "timestamp-request": 13,
        "timestamp-reply": 14,
    },
    Family.IPV6: {
        "destination-unreachable": 1,
        "packet-too-big": 2,
        "time-exceeded": 3,
        "ttl-exceeded": 3,
        "parameter-problem": 4,
        "echo-request": 128,
        "ping": 128,
        "echo-reply": 129,
        "pong": 129,
        "router-solicitation": 133,
        "router-advertisement": 134,
        "neighbor-solicitation": 135,
        "neighbour-solicitation": 135,
        "neighbor-advertisement": 136,
        "neighbour-advertisement": 136,
        "redirect": 137,
    },
}
