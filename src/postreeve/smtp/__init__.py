"""SMTP, both sides, without I/O.

PURE. RFC 5321 and its extensions: 1870, 2034, 2852, 2920, 3030, 3207, 3461, 4865, 4954, 6152, 6531, 6710, 9422; LMTP:
2033.
Bytes in, events out; decisions in, bytes out. `order` holds the table state × command that is the state machine.

    core = ServerProtocol(settings)
    core.receive_data(data)                  bytes from the transport ("" at its end: receive_eof)
    event = core.next_event()                Event | NEED_DATA | NEED_REPLY
    core.reply(Reply(250, "2.1.0", "OK"))    answers the outstanding event; the state moves on the reply's class
    transport.write(core.data_to_send())

Start reading at `event`, then `order`, then `server`.
"""
