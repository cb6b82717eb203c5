"""A conversation as people read it."""

from __future__ import annotations

from dataclasses import replace

from postreeve.checks.conversation import Conversation, Ending, Opening, Said, Tls, Trouble
from postreeve.checks.path import Dial, DialOutcome
from postreeve.checks.stage import Stage
from postreeve.probes.transcript import transcript

DIAL = Dial("192.0.2.1", 587, DialOutcome.OPEN, 0.0421)
TALK = Conversation(
    Opening.CLEAR,
    DIAL,
    said=(
        Said(Stage.BANNER, "", 220, ("mail.example.com ESMTP",), 0.1, False),
        Said(Stage.EHLO, "EHLO me", 250, ("mail.example.com", "STARTTLS"), 0.01, False),
        Said(Stage.TLS, "STARTTLS", 220, ("go",), 0.01, False),
        Said(Stage.AUTH, "AUTH PLAIN ****", 535, ("5.7.8 no",), 0.5, True),
        Said(Stage.NONE, "QUIT", 0, (), 2.0, True),
    ),
    tls=Tls("mail.example.com", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "x25519", 0.02, troubles=(Trouble(10, 0, "old"),)),
    injected=("250 evil",),
    ended_at=Stage.AUTH,
)


def test_transcript_marks_direction_encryption_and_surprise() -> None:
    assert transcript(TALK) == (
        "=== 192.0.2.1:587 open after 0.042 s\n"
        "<-  220 mail.example.com ESMTP  [0.100 s]\n"
        "-> EHLO me\n"
        "<-  250-mail.example.com\n"
        "<-  250 STARTTLS  [0.010 s]\n"
        "-> STARTTLS\n"
        "<-  220 go  [0.010 s]\n"
        "<** 250 evil (in the clear, before TLS)\n"
        "=== TLS for mail.example.com: TLSv1.3 TLS_AES_256_GCM_SHA384 x25519 after 0.020 s\n"
        "=== not trusted: old (code 10, certificate 0)\n"
        "~> AUTH PLAIN ****\n"
        "<** 535 5.7.8 no  [0.500 s]\n"
        "~> QUIT\n"
        "=== nothing came in 2.000 s\n"
        "=== ended by QUIT in stage auth\n"
    )


def test_transcript_of_a_failed_handshake() -> None:
    tls = Tls("", error="WRONG_VERSION_NUMBER", heard="220 hi\\r\\n", seconds=0.01)
    talk = Conversation(Opening.TLS, DIAL, heard="220 hi\\r\\n", tls=tls, ending=Ending.TLS_FAILED, ended_at=Stage.TLS)
    assert transcript(talk) == (
        "=== 192.0.2.1:587 open after 0.042 s\n"
        "=== TLS failed after 0.010 s: WRONG_VERSION_NUMBER\n"
        "<** 220 hi\\r\\n (where TLS was due)\n"
        "=== TLS failed in stage tls\n"
    )


def test_transcript_of_no_connection() -> None:
    dial = replace(DIAL, address="2001:db8::1", outcome=DialOutcome.REFUSED)
    assert transcript(Conversation(Opening.CLEAR, dial)) == "=== [2001:db8::1]:587 refused after 0.042 s\n"
