"""The [firewall] table: who may come in beside what the listeners say, and what may leave."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from postreeve.config.kind import Address, CountOrOff, Duration, Peers, Port, Switch, setting
from postreeve.config.limit import STRICT
from postreeve.firewall.exposure import Reach


class EntranceTable(BaseModel):
    """A further port that somebody may connect to, such as 80 for certificates."""

    model_config = STRICT

    port: Port = Field(description="TCP port.")
    allow_from: Peers = Field(description='`"world"`, or a list of networks.')
    because: str = Field(min_length=1, description="Why it is open; stands beside the rule.")


class ContainerTable(BaseModel):
    """A port of this machine that a container engine sends on to a container (DNAT), past all rules of ufw."""

    model_config = STRICT

    published: Port = Field(description="TCP port of this machine.")
    address: Address = Field(description="Address of the container; one of both families has a table for each.")
    port: Port = Field(description="Port in the container.")
    allow_from: Peers = Field(description='`"world"`, or a list of networks.')
    because: str = Field(min_length=1, description="Why it is open; stands beside the rule.")


class FirewallTable(BaseModel):
    """What `postreeve firewall` makes rules of, together with listeners and routes."""

    model_config = STRICT

    submission_from: Peers = setting("world", 'Who may connect to submission listeners: `"world"`, or networks.')
    connections_per_minute: Annotated[int, Field(ge=0, le=100_000)] = setting(
        0,
        "New connections that one address (IPv6: one /64) may make to a submission listener; 0 = any number. "
        "Port 25 is never limited.",
    )
    ssh_from: Peers = setting(
        "world", 'Who may connect by SSH: `"world"`, or networks; `[]` = only who is logged in when rules are made.'
    )
    ssh_port: Port = setting(22, "Port of the SSH server.")
    reach: Annotated[Reach, Field(strict=False)] = setting(
        "strict",
        "Which packets that leave are judged: `strict` (all; only what a mail server needs may leave) or `mail` "
        "(the mail ports only).",
    )
    bans: Switch = setting(True, "Refuse the addresses that the server has banned.")
    ban_after: CountOrOff = setting(
        20,
        "Failed logins from one address (IPv6: one /64), and logins tried where none belong, after which it is banned; "
        "0 = never. The server bans when it started with the rights to do so and the rules were in force by then.",
    )
    ban_within: Duration = setting("10m", "The time in which they are counted.")
    ban_for: Duration = setting("1h", "How long a ban lasts, 30 days at most.")
    extra: Annotated[tuple[EntranceTable, ...], Field(strict=False)] = setting((), "Further open ports.")
    container: Annotated[tuple[ContainerTable, ...], Field(strict=False)] = setting(
        (), "Published ports of containers."
    )
