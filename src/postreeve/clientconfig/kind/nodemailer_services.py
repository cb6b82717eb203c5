"""The services that nodemailer knows by name: `service: "gmail"` decides host, port and TLS mode.

nodemailer 7 and 8, `lib/well-known/services.json`, read in August 2026; a service's names are its own, its aliases and
its domains, compared without blanks and case (`lib/well-known/index.js`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from postreeve.clientconfig.settings import TlsMode

_TABLE: Final = """\
smtp.1und1.de 465 implicit: 1und1
smtp.126.com 465 implicit: 126
smtp.163.com 465 implicit: 163
smtp.aliyun.com 465 implicit: aliyun aliyun.com
smtp.qiye.aliyun.com 465 implicit: aliyunqiye
smtp.aol.com 587 opportunistic: aol aol.com
smtps.aruba.it 465 implicit: aruba arubapec aruba.it pec.aruba.it
smtpauths.bluewin.ch 465 implicit: bluewin bluewin.ch
smtp.bol.com.br 587 starttls: bol bol.com.br
debugmail.io 25 opportunistic: debugmail
disroot.org 587 opportunistic: disroot disroot.org
smtp.dynect.net 25 opportunistic: dynectemail dynect
smtp.elasticemail.com 465 implicit: elasticemail
smtp.ethereal.email 587 opportunistic: ethereal ethereal.email
smtp.fastmail.com 465 implicit: fastmail fastmail.fm
smtp.feishu.cn 465 implicit: feishumail feishu www.feishu.cn
smtp.forwardemail.net 465 implicit: forwardemail fe forwardemail.net
mail.gandi.net 587 opportunistic: gandimail gandi
smtp.gmail.com 465 implicit: gmail googlemail gmail.com googlemail.com
smtp-relay.gmail.com 465 implicit: gmailworkspace googleworkspacemail
mail.gmx.com 587 opportunistic: gmx gmx.com gmx.net gmx.de
smtpout.secureserver.net 25 opportunistic: godaddy
smtp.asia.secureserver.net 25 opportunistic: godaddyasia
smtp.europe.secureserver.net 25 opportunistic: godaddyeurope
mail.hot.ee 587 opportunistic: hot.ee
smtp-mail.outlook.com 587 opportunistic: hotmail outlook outlook.com hotmail.com
smtp.mail.me.com 587 opportunistic: icloud me mac me.com mac.com
mail.infomaniak.com 587 opportunistic: infomaniak ik.me ikmail.com etik.com
smtp.kolabnow.com 465 implicit: kolabnow kolab kolabnow.com
mailcluster.loopia.se 465 implicit: loopia
smtp.loops.so 587 opportunistic: loops
smtp.mail.ee 587 opportunistic: mail.ee
smtp.mail.ru 465 implicit: mail.ru
sandbox-smtp.mailcatch.app 2525 opportunistic: mailcatch.app
localhost 1025 plain: maildev
smtp.mailersend.net 587 opportunistic: mailersend
smtp.mailgun.org 465 implicit: mailgun
in.mailjet.com 587 opportunistic: mailjet
mailosaur.io 25 opportunistic: mailosaur
live.smtp.mailtrap.io 587 opportunistic: mailtrap
smtp.mandrillapp.com 587 opportunistic: mandrill
smtp.naver.com 587 opportunistic: naver
smtp.ohmysmtp.com 587 opportunistic: ohmysmtp
send.one.com 465 implicit: one
smtp.openmailbox.org 465 implicit: openmailbox omb openmailbox.org
smtp.office365.com 587 opportunistic: outlook365
smtp.postmarkapp.com 2525 opportunistic: postmark postmarkapp
smtp.protonmail.ch 587 starttls: proton protonmail proton.me protonmail.com protonmail.ch pm.me
smtp.mxhichina.com 465 implicit: qiye.aliyun
smtp.qq.com 465 implicit: qq qq.com
smtp.exmail.qq.com 465 implicit: qqex qqenterprise exmail.qq.com
smtp.resend.com 465 implicit: resend
smtp.runbox.com 465 implicit: runbox runbox.com
smtp.sendcloud.net 2525 opportunistic: sendcloud
smtp.sendgrid.net 587 opportunistic: sendgrid
smtp-relay.brevo.com 587 opportunistic: sendinblue brevo
smtp-pulse.com 465 implicit: sendpulse
email-smtp.us-east-1.amazonaws.com 465 implicit: ses ses-us-east-1
email-smtp.ap-northeast-1.amazonaws.com 465 implicit: ses-ap-northeast-1
email-smtp.ap-northeast-2.amazonaws.com 465 implicit: ses-ap-northeast-2
email-smtp.ap-northeast-3.amazonaws.com 465 implicit: ses-ap-northeast-3
email-smtp.ap-south-1.amazonaws.com 465 implicit: ses-ap-south-1
email-smtp.ap-southeast-1.amazonaws.com 465 implicit: ses-ap-southeast-1
email-smtp.ap-southeast-2.amazonaws.com 465 implicit: ses-ap-southeast-2
email-smtp.ca-central-1.amazonaws.com 465 implicit: ses-ca-central-1
email-smtp.eu-central-1.amazonaws.com 465 implicit: ses-eu-central-1
email-smtp.eu-north-1.amazonaws.com 465 implicit: ses-eu-north-1
email-smtp.eu-west-1.amazonaws.com 465 implicit: ses-eu-west-1
email-smtp.eu-west-2.amazonaws.com 465 implicit: ses-eu-west-2
email-smtp.eu-west-3.amazonaws.com 465 implicit: ses-eu-west-3
email-smtp.sa-east-1.amazonaws.com 465 implicit: ses-sa-east-1
email-smtp.us-east-2.amazonaws.com 465 implicit: ses-us-east-2
email-smtp.us-gov-east-1.amazonaws.com 465 implicit: ses-us-gov-east-1
email-smtp.us-gov-west-1.amazonaws.com 465 implicit: ses-us-gov-west-1
email-smtp.us-west-1.amazonaws.com 465 implicit: ses-us-west-1
email-smtp.us-west-2.amazonaws.com 465 implicit: ses-us-west-2
smtp.seznam.cz 465 implicit: seznam seznamemail seznam.cz email.cz post.cz spoluzaci.cz
mail.smtp2go.com 2525 opportunistic: smtp2go
smtp.sparkpostmail.com 587 opportunistic: sparkpost sparkpostmail sparkpost.com
smtp.tipimail.com 587 opportunistic: tipimail
pro.turbo-smtp.com 465 implicit: turbosmtp
pro.eu.turbo-smtp.com 465 implicit: turbosmtp-eu
smtp.tutanota.com 465 implicit: tutanota tutanota.com tuta.com tutanota.de tuta.io
smtp.mail.yahoo.com 465 implicit: yahoo yahoo.com
smtp.yandex.ru 465 implicit: yandex yandex.ru
smtp.zimbra.com 587 starttls: zimbra zimbracollaboration
smtp.zoho.com 465 implicit: zoho
"""
_NOISE: Final = re.compile(r"[^a-z0-9.-]")


@dataclass(frozen=True, slots=True)
class Service:
    """Where mail for a service goes."""

    host: str
    port: int
    mode: TlsMode


def service_of(name: str) -> Service | None:
    """The service of this name, of this alias, or of the domain of this address."""
    return _services().get(_NOISE.sub("", name.rpartition("@")[2].lower()))


@lru_cache(maxsize=1)
def _services() -> dict[str, Service]:
    found: dict[str, Service] = {}
    for line in _TABLE.replace("\\\n ", "").splitlines():
        place, _, names = line.partition(": ")
        host, port, mode = place.split()
        for name in names.split():
            found[name] = Service(host, int(port), TlsMode(mode))
    return found
