"""What the operator decides: facts about a session in, a Verdict out, one module per SMTP moment.

PURE. `connect`, `hello`, `sender`, `recipient` and `content` follow the conversation; `login` words the answers to
AUTH; `limits` counts a session's errors; `farewell` words the ends of sessions. The open-relay invariant is one
function, `recipient.judge_recipient`. Every reply that the operator's settings cause is written here, generic for the
peer, with a reason for the operator beside it; every reply that the RFCs cause is written in `smtp`. RFC 5321; RFC 6409
for submission.

Start reading at `settings`, then `verdict`, then `recipient`.
"""
