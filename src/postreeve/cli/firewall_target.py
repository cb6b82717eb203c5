"""The targets of `postreeve firewall render`: which module writes each, and what its files are called.

A target is a line here; what it needs beside the policy (the id of a group) is asked for by `--id`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from postreeve.firewall.flow import Policy, PolicyError
from postreeve.firewall.reduce import Reduced, reduce

Fit = Callable[[Any, Policy], Reduced]
Write = Callable[[Any, Policy, str], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Target:
    """`write` gives the files by name, the one that does it all first."""

    name: str
    module: str
    write: Write
    fit: Fit | None = None
    """The policy as the target can hold it, for one that cannot hold everything."""
    wants: str = ""
    """What `--id` must name."""


def _iptables(module: Any, policy: Policy, _id: str) -> Mapping[str, str]:
    files = module.render(policy)
    return {
        "postreeve-iptables.sh": files.script,
        "postreeve.ipset": files.ipset,
        "postreeve.rules.v4": files.ipv4,
        "postreeve.rules.v6": files.ipv6,
    }


def _ufw(module: Any, policy: Policy, _id: str) -> Mapping[str, str]:
    files = module.render(policy)
    return {"postreeve-ufw.sh": files.commands, "applications.d/postreeve": files.profile}


def _firewalld(module: Any, policy: Policy, _id: str) -> Mapping[str, str]:
    files = module.render(policy)
    return {"postreeve-firewalld.sh": files.commands, **dict(files.xml)}


def _labels(text: str) -> dict[str, str]:
    pairs = [one.partition("=") for one in text.split(",")]
    if not all(name and sign and value for name, sign, value in pairs):
        raise PolicyError(f"{text!r} names no pods: labels look like app=mail,tier=edge")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _below_root(files: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return {path.lstrip("/"): text for path, text in files}


def _fail2ban(module: Any, policy: Policy, ident: str) -> Mapping[str, str]:
    """`ident` says whose sets it fills."""
    keepers = {one.value: one for one in module.Keeper}
    if ident and ident not in keepers:
        raise PolicyError(f"--id {ident!r}: fail2ban fills the sets of {', '.join(keepers)}")
    return _below_root(module.render_fail2ban(policy, keepers[ident or "nftables"]))


def _bundle(made: Any) -> Mapping[str, str]:
    script = "#!/bin/sh\n# Run it where its files are.\nset -eu\n" + "".join(f"{one}\n" for one in made.commands)
    return {"apply.sh": script, **made.files}


def _one(name: str, writer: str = "render") -> Write:
    """A target of a single file."""
    return lambda module, policy, _id: {name: getattr(module, writer)(policy)}


def _fit(module: Any, policy: Policy) -> Reduced:
    fitted: Reduced = module.fit(policy)
    return fitted


def _means(name: str, module: str = "") -> Fit:
    """What the target's module (or another one) says that it is able to hold."""
    return lambda here, policy: reduce(policy, getattr(_module(module) if module else here, name))


TARGETS: Final = (
    Target("nftables", "nftables", _one("postreeve.nft")),
    Target("iptables", "iptables", _iptables),
    Target("ufw", "ufw", _ufw, _fit),
    Target("firewalld", "firewalld", _firewalld, _fit),
    Target(
        "aws",
        "aws",
        lambda module, policy, ident: _bundle(module.render_group(policy, ident)),
        _means("GROUP"),
        "a security group",
    ),
    Target(
        "aws-acl",
        "aws",
        lambda module, policy, ident: _bundle(module.render_acl(policy, ident)),
        _means("ACL"),
        "a network ACL",
    ),
    Target("cloudformation", "cloudformation", _one("group.json", "render_group"), _means("GROUP", "aws")),
    Target("cloudformation-acl", "cloudformation", _one("acl.json", "render_acl"), _means("ACL", "aws")),
    Target("terraform", "terraform", _one("group.tf.json", "render_group"), _means("GROUP", "aws")),
    Target("terraform-acl", "terraform", _one("acl.tf.json", "render_acl"), _means("ACL", "aws")),
    Target("gcp", "gcp", lambda module, policy, _id: _bundle(module.render(policy)), _means("MEANS")),
    Target("azure", "azure", _one("nsg.json"), _means("MEANS")),
    Target(
        "digitalocean",
        "digitalocean",
        lambda module, policy, ident: _bundle(module.render(policy, tags=(ident,))),
        _means("MEANS"),
        "a tag of the droplets",
    ),
    Target("pf", "pf", _one("postreeve.pf")),
    Target("windows", "windows", _one("postreeve.ps1"), _means("MEANS")),
    Target(
        "kubernetes",
        "kubernetes",
        lambda module, policy, ident: {"policy.json": module.render(policy, _labels(ident))},
        _means("MEANS"),
        "the pods by label, as app=mail",
    ),
    Target(
        "cilium",
        "kubernetes",
        lambda module, policy, ident: {"policy.json": module.render_cilium(policy, _labels(ident))},
        _means("CILIUM"),
        "the pods by label, as app=mail",
    ),
    Target("fail2ban", "bans", _fail2ban),
    Target("crowdsec", "bans", lambda module, policy, _id: _below_root(module.render_crowdsec(policy))),
    Target("hetzner", "hetzner", lambda module, policy, ident: _bundle(module.render(policy, ident)), _means("MEANS")),
)


def target_named(name: str) -> Target | None:
    """The target, or None."""
    return next((one for one in TARGETS if one.name == name), None)


def load(target: Target) -> Any:
    """The module that writes it."""
    return _module(target.module)


def _module(name: str) -> Any:
    return import_module(f"postreeve.firewall.render.{name}")
