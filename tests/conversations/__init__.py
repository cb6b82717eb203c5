"""Conversations: what a client says and a server answers, as files, and how to run them.

    # comment; the first says what the conversation shows
    settings: tls=required max_recipients=2      fields of ServerSettings
    decide: Recipient nobody 550 5.1.1 no such   how the session answers an event that mentions the text; * is any
    C: EHLO client.example.org                   a line of the client, CRLF added; \\xNN, \\r, \\n, {A*300}
    C+ raw octets                                the same without CRLF
    S: 250 2.1.0 OK                              a line of the server; "..." at its end for any rest
    TLS                                          the handshake is done
    EOF                                          the client sends no more
    WAIT                                         the client says nothing before all is answered
    E: Refused AUTH 503 credentials              an event, in this order among others
    M: a@example.org > b@example.com: text       a message that was accepted; all of them, in order

Every conversation runs turn by turn, whole (all the client says up to a TLS, WAIT or the end in one piece), octet by
octet and cut at random: the server's lines, events and messages must be the same in each.
"""
