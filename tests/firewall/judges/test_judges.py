"""What the libraries of the clouds and the schemas of notations say of our output, and of the same with a mistake.

They run in an environment of their own (scripts/judges.sh) and skip where it is missing.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from typing import Any

import pytest

from postreeve.firewall.read.aws import read_acl, read_group
from postreeve.firewall.render import aws, cloudformation, gcp, kubernetes, windows
from tests.firewall.anypolicy import mail_policy, plain

ROOT = pathlib.Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-judges/bin/python"
JUDGE = pathlib.Path(__file__).parent / "judge.py"
GROUP_ID, ACL_ID = "sg-0123456789abcdef0", "acl-0123456789abcdef0"

pytestmark = [
    pytest.mark.timeout(360),
    pytest.mark.skipif(
        not PYTHON.exists()
        and not {"1"} & {os.environ.get("POSTREEVE_JUDGES"), os.environ.get("POSTREEVE_REQUIRE_PEERS")},
        reason="no judges: POSTREEVE_JUDGES=1 scripts/judges.sh",
    ),
]


def ask(judge: str, question: dict[str, object]) -> Any:
    command = [str(PYTHON), str(JUDGE), judge]
    asked = json.dumps(question)
    # Time for a machine that is busy and has read none of it before.
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(done.stdout)


def inputs_of_group() -> list[tuple[str, dict[str, object]]]:
    files = aws.render_group(mail_policy(aws.GROUP)[0], GROUP_ID).files
    return [
        (f"{name.removesuffix('.json').replace('-', '_security_group_')}", json.loads(text))
        for name, text in files.items()
    ]


def inputs_of_acl() -> list[tuple[str, dict[str, object]]]:
    files = aws.render_acl(mail_policy(aws.ACL)[0], ACL_ID).files
    return [("create_network_acl_entry", json.loads(text)) for text in files.values()]


def as_operations(inputs: list[tuple[str, dict[str, object]]]) -> list[tuple[str, dict[str, object]]]:
    return [("".join(word.capitalize() for word in name.split("_")), value) for name, value in inputs]


def test_cfn_lint_finds_nothing_in_our_templates_and_finds_a_mistake() -> None:
    group = cloudformation.render_group(mail_policy(aws.GROUP)[0])
    # A type with all of its codes: it knows that of ICMP and, unlike the API, not of ICMPv6.
    excused = "E3688 Both ['FromPort', 'ToPort'] must be -1 when one is -1"
    found = ask("cfn_lint", {"template": group})
    assert set(found) == {excused}
    assert len(found) == sum('"IpProtocol": "icmpv6"' in line for line in group.splitlines())
    assert ask("cfn_lint", {"template": cloudformation.render_acl(mail_policy(aws.ACL)[0])}) == []
    assert set(ask("cfn_lint", {"template": group.replace('"CidrIp"', '"CidrIpv4"')})) > {excused}


def test_botocore_takes_our_inputs_and_refuses_a_mistake() -> None:
    inputs = as_operations([*inputs_of_group(), *inputs_of_acl()])
    assert len(inputs) > 20
    assert ask("botocore", {"inputs": inputs}) == []
    name, value = inputs[0]
    assert ask("botocore", {"inputs": [(name, {**value, "IpPermission": []})]}) != []


def test_moto_shows_what_we_meant() -> None:
    group, acl = mail_policy(aws.GROUP)[0], mail_policy(aws.ACL)[0]
    created = json.loads(aws.render_new_group(group, "vpc-01234567"))
    shown = ask("moto", {"group": created, "inputs": [*inputs_of_group(), *inputs_of_acl()]})
    assert plain(read_group(json.dumps(shown["groups"]))) == plain(group)
    assert plain(read_acl(json.dumps(shown["acls"]))) == plain(acl)


def test_google_takes_our_rules_and_refuses_a_mistake() -> None:
    rules = list(gcp.make_rules(mail_policy(gcp.MEANS)[0]))
    assert ask("google", {"rules": rules}) == []
    assert len(ask("google", {"rules": [{**rules[0], "sourceRange": []}, {**rules[0], "priority": "high"}]})) == 2


def test_kubernetes_takes_our_policy_and_refuses_a_mistake() -> None:
    document = json.loads(kubernetes.render(mail_policy(kubernetes.MEANS)[0], {"app": "postreeve"}))
    assert ask("kubernetes", {"document": document}) == []
    document["spec"]["ingres"] = []
    assert ask("kubernetes", {"document": document}) != []


def test_powershell_takes_our_script_and_refuses_a_mistake() -> None:
    script = windows.render(mail_policy(windows.MEANS)[0])
    assert ask("powershell", {"script": script}) == []
    assert ask("powershell", {"script": windows.render_removal()}) == []
    assert ask("powershell", {"script": script.replace("@{ ", "@( ", 1)}) != []
