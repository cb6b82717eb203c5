"""Runs in the environment of scripts/judges.sh: a question in JSON on standard input, the judgement on its output."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

Question = dict[str, Any]


def ask_cfn_lint(question: Question) -> list[str]:
    """Every finding of a template."""
    from cfnlint.api import ManualArgs, lint

    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
    found = lint(question["template"], config=ManualArgs(regions=["eu-central-1"]))
    return [f"{one.rule.id} {one.message}" for one in found]


def ask_botocore(question: Question) -> list[str]:
    """What the model of the API says of each input."""
    import botocore.session
    from botocore.validate import ParamValidator

    model = botocore.session.get_session().get_service_model("ec2")
    reports = []
    for name, value in question["inputs"]:
        report = ParamValidator().validate(value, model.operation_model(name).input_shape)
        if report.has_errors():
            reports.append(report.generate_report())
    return reports


def ask_moto(question: Question) -> dict[str, Any]:
    """What describe-security-groups and describe-network-acls show when the inputs were sent."""
    os.environ.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="eu-central-1")
    import boto3
    from moto import mock_aws

    with mock_aws():
        client = boto3.client("ec2")
        vpc = client.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        group = client.create_security_group(**{**question["group"], "VpcId": vpc})["GroupId"]
        acl = client.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
        client.create_tags(Resources=[acl], Tags=[{"Key": "Name", "Value": question["group"]["GroupName"]}])
        for name, value in question["inputs"]:
            sent = {**value, **({"GroupId": group} if "GroupId" in value else {"NetworkAclId": acl})}
            getattr(client, name)(**sent)
        groups = client.describe_security_groups(GroupIds=[group])["SecurityGroups"]
        acls = client.describe_network_acls(NetworkAclIds=[acl])["NetworkAcls"]
        return {"groups": {"SecurityGroups": groups}, "acls": {"NetworkAcls": acls}}


def ask_google(question: Question) -> list[str]:
    """What the types of the API refuse."""
    from google.cloud import compute_v1

    problems = []
    for rule in question["rules"]:
        try:
            text = json.dumps(rule)
            compute_v1.Firewall.from_json(text, ignore_unknown_fields=False)
        except Exception as error:
            problems.append(str(error))
    return problems


def ask_kubernetes(question: Question) -> list[str]:
    """What the schema refuses, strictly."""
    import kubernetes_validate

    try:
        kubernetes_validate.validate(question["document"], question.get("version", "1.29"), strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return []


def ask_powershell(question: Question) -> list[str]:
    """Where the grammar does not go on."""
    import tree_sitter
    import tree_sitter_powershell

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    root = parser.parse(question["script"].encode()).root_node
    return ["syntax error"] if root.has_error else []


if __name__ == "__main__":
    os.environ.setdefault("HOME", tempfile.gettempdir())
    asked = json.load(sys.stdin)
    judgement = globals()[f"ask_{sys.argv[1]}"](asked)
    print(json.dumps(judgement, default=str))
