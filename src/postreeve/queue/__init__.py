"""What a queued message is and what happens to it next.

PURE. RFC 5321 sections 4.5.4 and 5, 7505, 2852, 4865, 6710. `route` says where mail for a domain goes, `plan` tries
hosts in `step`s, `outcome` is what happened, `disposition` judges it (the whole error policy is one table), `lifetime`
says when to give up or to warn, `backoff` when to try again, `throttle` how many at once.

Start reading at `model`, then `plan`.
"""
