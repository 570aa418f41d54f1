"""How each documented answer of each operation is brought about: rules first, the few special cases in one table."""

import dataclasses
import hashlib
import hmac
import json
import time

from conftest import ids_of, provision, request_of, with_whatsapp
from creel import ANONYMOUS, STRIPE_SECRET, WHATSAPP_SECRET, Caller
from specification import sample
from wallet import Wallet

UNKNOWN = "0" * 16
LIMIT = 1024 * 1024


@dataclasses.dataclass
class Ask:
    caller: Caller
    target: str
    body: object = None
    headers: dict = dataclasses.field(default_factory=dict)


def signed(operation, ask):
    """With the signature of the service whose webhook it is; other operations as they are."""
    signatures = {p["name"] for p in operation.parameters_in("header")} & {"Stripe-Signature", "X-Hub-Signature-256"}
    if signatures:
        ask.body = ask.body if isinstance(ask.body, bytes) else json.dumps(ask.body).encode()
    if "X-Hub-Signature-256" in signatures:
        made = hmac.new(WHATSAPP_SECRET.encode(), ask.body, hashlib.sha256).hexdigest()
        ask.headers = {"X-Hub-Signature-256": "sha256=" + made}
    if "Stripe-Signature" in signatures:
        now = str(int(time.time()))
        made = hmac.new(STRIPE_SECRET.encode(), now.encode() + b"." + ask.body, hashlib.sha256).hexdigest()
        ask.headers = {"Stripe-Signature": f"t={now},v1={made}"}
    return ask


class Scenarios:
    def __init__(self, server, world, spec):
        self.server, self.world, self.spec = server, world, spec
        self._made, self._cookie = 0, None

    # --- helpers of the table ------------------------------------------------------------------------------------

    def new_user(self, **options):
        self._made += 1
        return self.server.user(f"scenario-{self._made}", **options)

    def new_agent(self, caller=None, **extra):
        self._made += 1
        return provision(self.server, caller or self.world.owner, f"scenario-{self._made}", **extra)

    def good(self, operation, **query):
        """A request of the owner's that succeeds, for an agent of its own."""
        agent = self.world.agents["owner"]
        target, body = sample(operation, self.ids(operation, agent), query)
        ask = Ask(ANONYMOUS if operation.security == "open" else self.world.owner, target, body)
        return signed(operation, ask)

    def ids(self, operation, agent):
        return ids_of(operation, agent, self.world.keys["owner"])

    # --- rules -----------------------------------------------------------------------------------------------------

    def ask(self, operation, case):
        status = case.split()[0]
        special = getattr(self, f"{operation.id}_{case.replace(' ', '_')}", None)
        if special:
            return special(operation)
        if status.startswith("2"):
            waits = any(p["name"] == "wait" for p in operation.parameters_in("query"))
            ask = self.good(operation, **({"wait": 60} if waits else {}))
            if operation.security == "admin":
                ask.caller = self.world.callers["admin"]
            return ask
        return getattr(self, "any_" + status)(operation)

    def any_400(self, operation):
        ask = self.good(operation)
        if operation.body:
            ask.body = b'{"name":'
        elif any(p["name"] == "wait" for p in operation.parameters_in("query")):
            ask.target = self.good(operation, wait="soon").target
        else:
            ask.target += ("&" if "?" in ask.target else "?") + "x=%zz"
        if operation.security == "admin":
            ask.caller = self.world.callers["admin"]
        return ask

    def any_401(self, operation):
        ask = self.good(operation)
        ask.caller = ANONYMOUS
        return ask

    def any_402(self, operation):
        ask = self.good(operation)
        ask.caller = self.new_user(plan="pro", subscription="inactive")
        return ask

    def any_403(self, operation):
        if operation.security == "admin":
            return self.good(operation)
        if operation.path.startswith("/api/instance/"):
            target, body = request_of(operation, UNKNOWN, UNKNOWN)
            return Ask(self.world.owner, target, body)
        ask = self.good(operation)
        ask.caller = Caller("a browser, from a page elsewhere", {"Cookie": self.browser(), "Origin": "https://elsewhere"})
        return ask

    def any_404(self, operation):
        target, body = request_of(operation, UNKNOWN, "key_" + UNKNOWN)
        if "{" not in operation.path:
            if operation.body:
                body = {**body, "agentId": UNKNOWN}
            else:
                target += ("&" if "?" in target else "?") + "agentId=" + UNKNOWN
        return Ask(self.world.owner, target, body)

    def any_412(self, operation):
        ask = self.good(operation)
        ask.headers = {"If-Match": '"not-this"'}
        return ask

    def any_413(self, operation):
        ask = self.good(operation)
        ask.body = b" " * (LIMIT + 1)
        return ask

    def browser(self):
        """The cookie of a session."""
        if self._cookie is None:
            answer = self.server.call("POST", "/api/auth/login", body=self.person())
            assert answer.status == 200, answer
            self._cookie = answer.header("Set-Cookie").split(";")[0]
        return self._cookie

    def person(self):
        """The credentials of somebody who has a password."""
        self._made += 1
        credentials = {"email": f"person{self._made}@example.com", "password": "correct horse"}
        answer = self.server.call("POST", "/api/admin/users", self.world.callers["admin"], credentials)
        assert answer.status == 201, answer
        return credentials

    # --- what the rules do not know: named OPERATION_CASE -----------------------------------------------------------

    def login_200(self, operation):
        return Ask(ANONYMOUS, operation.path, self.person())

    def login_401(self, operation):
        return Ask(ANONYMOUS, operation.path, {"email": "nobody1@example.com", "password": "wrong horse"})

    def signup_201(self, operation):
        self._made += 1
        return Ask(ANONYMOUS, operation.path, {"email": f"new{self._made}@example.com", "password": "correct horse"})

    def signup_409(self, operation):
        return Ask(ANONYMOUS, operation.path, {"email": "owner@example.com", "password": "correct horse"})

    def createUser_201(self, operation):
        self._made += 1
        return Ask(self.world.callers["admin"], operation.path, {"email": f"made{self._made}@example.com", "plan": "pro"})

    def createUser_409(self, operation):
        return Ask(self.world.callers["admin"], operation.path, {"email": "owner@example.com"})

    def createUser_413(self, operation):
        return Ask(self.world.callers["admin"], operation.path, b" " * (LIMIT + 1))

    def createKey_429_KEY_LIMIT_REACHED(self, operation):
        caller = self.new_user()
        for _ in range(9):
            assert self.server.call("POST", "/api/keys", caller, {"name": "one"}).status == 201
        return Ask(caller, operation.path, {"name": "eleventh"})

    def deleteKey_200(self, operation):
        key = self.server.call("POST", "/api/keys", self.world.owner, {"name": "short-lived"}).json["id"]
        return Ask(self.world.owner, "/api/keys/" + key)

    def deleteAgent_200(self, operation):
        return Ask(self.world.owner, f"/api/agents/{self.new_agent()}?purge=true")

    def _mismatch(self, operation):
        ask = self.good(operation, wait=0)
        ask.caller, ask.headers = self.new_user(), {"Idempotency-Key": "once"}
        first = self.server.call(operation.method, ask.target, ask.caller, ask.body, ask.headers)
        assert first.status == 201, first
        ask.body = {**ask.body, "name": "another"}
        return ask

    createAgent_409 = provisionAgent_409 = provisionChannels_409 = _mismatch

    def _full(self, operation):
        ask = self.good(operation, wait=0)
        ask.caller = self.new_user(plan="starter")
        assert self.server.call(operation.method, ask.target, ask.caller, ask.body).status == 201
        return ask

    createAgent_429_AGENT_LIMIT_REACHED = provisionAgent_429_AGENT_LIMIT_REACHED = _full
    provisionChannels_429_AGENT_LIMIT_REACHED = _full

    def provisionAgent_400_name(self, operation):
        return Ask(self.world.owner, operation.path, {"model": "gpt-4"})

    def provisionChannels_400_token(self, operation):
        return Ask(self.world.owner, operation.path, {"apiKey": "sk-or-example"})

    def chat_400_message(self, operation):
        return Ask(self.world.owner, operation.path, {"topic": "general"})

    def _checkout(self, operation, plan):
        user = self.server.call("GET", "/api/auth/session", self.new_user(plan="free")).json["user"]["id"]
        target, event = sample(operation, {})
        event = {**event, "id": f"evt_{self._made}",
                 "data": {"object": {"client_reference_id": user, "metadata": {"plan": plan}}}}
        return signed(operation, Ask(ANONYMOUS, target, event))

    def billingWebhook_200(self, operation):
        return self._checkout(operation, "pro")

    def billingWebhook_400_INVALID_BODY(self, operation):
        return signed(operation, Ask(ANONYMOUS, operation.path, {"type": "invoice.paid", "created": 1764000000}))

    def billingWebhook_422(self, operation):
        return self._checkout(operation, "platinum")

    def _whatsapp(self, operation, body=None, **query):
        agent = self.new_agent()
        word = with_whatsapp(self.server, self.world.owner, agent)
        if operation.method == "GET":
            query.setdefault("hub.verify_token", word)
        target, good = sample(operation, self.ids(operation, agent), query)
        return signed(operation, Ask(ANONYMOUS, target, body or good))

    whatsappHandshake_200 = whatsappWebhook_200 = _whatsapp

    def whatsappHandshake_400_INVALID_QUERY(self, operation):
        return self._whatsapp(operation, **{"hub.challenge": "x" * 1025})

    def whatsappHandshake_403(self, operation):
        return self._whatsapp(operation, **{"hub.verify_token": "another"})

    def whatsappHandshake_403_unknown(self, operation):
        return Ask(ANONYMOUS, sample(operation, self.ids(operation, UNKNOWN))[0])

    def whatsappWebhook_400(self, operation):
        return self._whatsapp(operation, body={"object": "whatsapp_business_account"})

    def whatsappWebhook_403(self, operation):
        ask = self._whatsapp(operation)
        ask.body += b" "
        return ask

    def whatsappWebhook_403_unknown(self, operation):
        target, body = sample(operation, self.ids(operation, UNKNOWN))
        return signed(operation, Ask(ANONYMOUS, target, body))

    def verifyAgent_400_type(self, operation):
        ask = self.good(operation)
        ask.body = {"verificationType": "oracle"}
        return ask

    def verifyAgent_409(self, operation):
        return Ask(self.world.owner, f"/api/agents/{self.new_agent()}/verify",
                   {"verificationType": "ens", "walletAddress": "0x" + "1" * 40, "signature": "0x" + "1" * 130})

    def verifyAgent_200(self, operation):
        agent, wallet = self.new_agent(), Wallet()
        challenge = self.server.call("POST", f"/api/agents/{agent}/verify/challenge", self.world.owner,
                                     {"verificationType": "ens", "walletAddress": wallet.address}).json
        return Ask(self.world.owner, f"/api/agents/{agent}/verify",
                   {"verificationType": "ens", "walletAddress": wallet.address,
                    "signature": wallet.sign(challenge["message"])})

    def verifyAgent_422(self, operation):
        ask = self.verifyAgent_200(operation)
        ask.body = {**ask.body, "signature": Wallet(2).sign("another message")}
        return ask

    def verifyAgent_503(self, operation):
        ask = self.good(operation)
        ask.body = {"verificationType": "eas", "attestationUid": "0x" + "1" * 64}
        return ask

    def makeVerificationChallenge_200(self, operation):
        ask = self.good(operation)
        ask.body = {"verificationType": "ens", "walletAddress": Wallet().address}
        return ask

    def _sampled(self, operation):
        ask = self.good(operation)
        deadline = time.monotonic() + 60
        while not self.server.call("GET", ask.target, ask.caller).json["stats"]["sampledAt"]:
            assert time.monotonic() < deadline, "the agent is never measured"
            time.sleep(0.2)  # polls another process
        return ask

    getAgentStats_200 = _sampled

    def getInstanceStats_200(self, operation):
        self._sampled(self.spec.operation("GET /api/agents/{id}/stats"))
        return self.good(operation)

    def getLogs_200(self, operation):
        ask = self.good(operation, limit=1)
        ask.target += "&level=info"
        return ask

    def makeVerificationChallenge_503(self, operation):
        ask = self.good(operation)
        ask.body = {"verificationType": "coinbase"}
        return ask

    def _not_the_owner(self, operation):
        ask = self.good(operation)
        ask.caller = self.world.callers["admin"]
        return ask

    getVerification_403 = verifyAgent_403 = makeVerificationChallenge_403 = removeVerification_403 = _not_the_owner

    def chat_409(self, operation):
        agent = self.new_agent()
        assert self.server.call("POST", f"/api/instance/{agent}/stop", self.world.owner).status == 200
        return Ask(self.world.owner, operation.path, {"message": "Hello!", "agentId": agent})

    def chat_502(self, operation):
        answer = self.server.call("POST", "/api/agents/provision", self.world.owner,
                                  {"name": "broken", "config": {"fail": "exit"}})
        agent, deadline = answer.json["agent"]["id"], time.monotonic() + 60
        while self.server.call("GET", "/api/agents/" + agent, self.world.owner).json["agent"]["status"] != "error":
            assert time.monotonic() < deadline, "the agent that exits is not shown as failed"
            time.sleep(0.05)  # polls another process
        return Ask(self.world.owner, operation.path, {"message": "Hello!", "agentId": agent})

    postAgentAction_502 = chat_502

    def getAgentAction_404(self, operation):
        return Ask(self.world.owner, f"{operation.path}?action=sessions&agentId={UNKNOWN}")

    def getAgentAction_404_SESSION_NOT_FOUND(self, operation):
        return Ask(self.world.owner, f"{operation.path}?action=session&sessionId=sess_{UNKNOWN}")

    def getAgentAction_400_action(self, operation):
        return Ask(self.world.owner, operation.path + "?action=dance")

    def getAgentAction_400_INVALID_QUERY(self, operation):
        return Ask(self.world.owner, operation.path + "?action=session")

    def _said(self):
        """The session of something that was said and answered."""
        answer = self.server.call("POST", "/api/agent", self.world.owner, {"message": "Hello!"})
        assert answer.status == 200, answer
        return answer.json["sessionId"]

    def getAgentAction_200_sessions(self, operation):
        self._said()
        return Ask(self.world.owner, operation.path + "?action=sessions")

    def getAgentAction_200_session(self, operation):
        return Ask(self.world.owner, f"{operation.path}?action=session&limit=1&sessionId={self._said()}")

    def getAgentAction_200_memory(self, operation):
        agent = self.new_agent()
        said = self.server.call("POST", "/api/agent", self.world.owner, {"message": "Hello!", "agentId": agent})
        assert said.status == 200, said
        return Ask(self.world.owner, f"{operation.path}?action=memory&agentId={agent}")

    def getAgentAction_200_credentials(self, operation):
        return Ask(self.world.owner, operation.path + "?action=credentials")

    def getAgentAction_200_health(self, operation):
        return Ask(self.world.owner, operation.path + "?action=health")

    def getAgentAction_200_skills(self, operation):
        return Ask(self.world.owner, operation.path + "?action=skills")

    def postAgentAction_404_SKILL_NOT_FOUND(self, operation):
        return Ask(self.world.owner, operation.path, {"action": "update-skill", "skillId": "none", "enabled": True})

    def postAgentAction_200_create_session(self, operation):
        return Ask(self.world.owner, operation.path, {"action": "create-session"})

    def postAgentAction_200_set_credential(self, operation):
        return Ask(self.world.owner, operation.path,
                   {"action": "set-credential", "key": "anthropic", "value": "sk-ant-example"})

    def postAgentAction_400_message(self, operation):
        return Ask(self.world.owner, operation.path, {"action": "chat"})

    def postAgentAction_404_SESSION_NOT_FOUND(self, operation):
        return Ask(self.world.owner, operation.path, {"message": "Hello!", "sessionId": "sess_" + UNKNOWN})

    def listChat_200(self, operation):
        self._said()
        return Ask(self.world.owner, operation.path + "?limit=1")

    def getMessages_200(self, operation):
        self._said()
        return self.good(operation, limit=1)

    def caddyAsk_200(self, operation):
        return Ask(ANONYMOUS, f"{operation.path}?domain={self.world.agents['owner']}.agents.localhost")

    def _passed_on(self, operation):
        ask = self.good(operation)
        ask.headers = {"X-Forwarded-For": "203.0.113.7"}
        return ask

    caddyAsk_403 = traefik_403 = _passed_on

    # a template that is not installed any more: the row says so, as after an upgrade
    def _no_template(self, operation):
        agent = self.new_agent()
        self.server.sql(f"UPDATE agents SET template_name = 'gone' WHERE id = '{agent}'")
        if "{" not in operation.path:
            target, body = sample(operation, {})
            return Ask(self.world.owner, target, {**body, "agentId": agent})
        target, body = sample(operation, self.ids(operation, agent))
        return Ask(self.world.owner, target, body)

    updateAgent_409 = putConfig_409 = putEgress_409 = resetMemory_409 = updateInstance_409 = rotateToken_409 = postAgentAction_409 = _no_template

    # of an agent of its own, which waits from then on: the server has no fence
    def putEgress_200(self, operation):
        target, body = sample(operation, self.ids(operation, self.new_agent()))
        return Ask(self.world.owner, target, body)

    def putEgress_400_name(self, operation):
        return Ask(self.world.owner, self.good(operation).target, {"egress": ["https://example.com/"]})

    def getToken_409(self, operation):
        ask = self._no_template(operation)
        self.server.sql("DELETE FROM agent_secrets WHERE name = 'gateway_token' AND agent_id = "
                        "(SELECT id FROM agents WHERE template_name = 'gone' ORDER BY created_at DESC LIMIT 1)")
        return ask


def expected_cases(spec, operation):
    """Each documented status, and beside it each code of an error with several that a scenario can bring about."""
    cases = []
    for status, response in spec.responses(operation).items():
        cases.append(status)
        cases += [f"{status} {code}" for code in sorted(spec.codes(response))
                  if hasattr(Scenarios, f"{operation.id}_{status}_{code}")]
    prefix = operation.id + "_"
    named = [name[len(prefix):].replace("_", " ", 1) for name in dir(Scenarios) if name.startswith(prefix)]
    return sorted(set(cases) | set(named))
