// The API over a real PostgreSQL: accounts, agents, configuration, and who may do what.
#include <gmock/gmock.h>

#include "controller/store/agent_secrets.hpp"
#include "controller/store/events.hpp"
#include "tests/integration/api_fixture.hpp"

namespace creel::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

using Api = ApiTest;

const char* kUnknown = "0123456789abcdef";

// --- the frame around every route

TEST_F(Api, AnswersEveryErrorInOneShape) {
  for (const auto& [method, target, status, code] : std::vector<std::tuple<const char*, const char*, int, const char*>>{
           {"GET", "/nowhere", 404, "NOT_FOUND"},
           {"GET", "/api/nowhere", 404, "NOT_FOUND"},
           {"DELETE", "/healthz", 405, "METHOD_NOT_ALLOWED"},
           {"GET", "/api/agents/provision", 401, "UNAUTHORIZED"},
           {"GET", "/api/agents/%zz", 400, "BAD_REQUEST"}}) {
    const Answer answer = ask(method, target, "");
    EXPECT_EQ(answer.status, status) << target;
    EXPECT_EQ(answer.body["code"], code) << target;
    EXPECT_TRUE(answer.body["error"].is_string()) << target;
    EXPECT_EQ(answer.body["requestId"], answer.header("X-Request-Id")) << target;
    EXPECT_EQ(answer.header("Content-Type"), "application/json");
    EXPECT_EQ(answer.header("X-Content-Type-Options"), "nosniff");
  }
  EXPECT_EQ(ask("DELETE", "/healthz", "").header("Allow"), "GET, HEAD, OPTIONS");
}

TEST_F(Api, EchoesAHarmlessRequestIdAndReplacesAnyOther) {
  EXPECT_EQ(ask("GET", "/healthz", "", nullptr, {{"X-Request-Id", "abc-1.2_3"}}).header("X-Request-Id"), "abc-1.2_3");
  for (const std::string& bad : {std::string{"a b"}, std::string{"a\"b"}, std::string(65, 'a')}) {
    const std::string id = ask("GET", "/healthz", "", nullptr, {{"X-Request-Id", bad}}).header("X-Request-Id");
    EXPECT_TRUE(id.starts_with("req_")) << id;
  }
}

TEST_F(Api, AnswersOptionsWithWhatIsAllowed) {
  const Answer answer = ask("OPTIONS", "/api/agents/provision", "");
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(answer.header("Allow"), "GET, HEAD, OPTIONS, POST");
  EXPECT_EQ(ask("OPTIONS", "/nowhere", "").status, 404);
}

TEST_F(Api, LimitsRequestsForEachAddress) {
  settings_.rate.instance = 2;
  build();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(ask("GET", "/api/instance/x", ann_key_).status, 403);
  const Answer refused = ask("GET", "/api/instance/x", ann_key_);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.body["code"], "RATE_LIMITED");
  EXPECT_EQ(refused.body["status"], "error");  // the lifecycle shape
  EXPECT_EQ(refused.header("RateLimit-Limit"), "2");
  EXPECT_EQ(refused.header("RateLimit-Remaining"), "0");
  EXPECT_FALSE(refused.header("Retry-After").empty());
  EXPECT_EQ(ask("GET", "/api/agents", ann_key_).status, 200);
}

TEST_F(Api, SaysThatPostgresIsAwayAndWorksAgainAfterwards) {
  EXPECT_EQ(ask("GET", "/readyz", "").status, 200);
  {
    // More transactions than the pool has connections: begin() has none to give.
    std::vector<store::Tx> all;
    for (int i = 0; i < 4; ++i) all.push_back(begin());
    const Answer away = ask("GET", "/api/agents", ann_key_);
    EXPECT_EQ(away.status, 503);
    EXPECT_EQ(away.body["code"], "STORE_UNAVAILABLE");
    EXPECT_FALSE(away.header("Retry-After").empty());
    EXPECT_EQ(ask("GET", "/healthz", "").status, 200);
  }
  EXPECT_EQ(ask("GET", "/api/agents", ann_key_).status, 200);
}

TEST_F(Api, IsReadyOnlyWithTheSchemaOfThisProgram) {
  const Answer ready = ask("GET", "/readyz", "");
  EXPECT_EQ(ready.body["ready"], true);
  EXPECT_EQ(ready.body["engine"]["state"], "reachable");
  engine_ = {"unreachable", "no answer"};
  EXPECT_EQ(ask("GET", "/readyz", "").status, 200);
  run("DELETE FROM schema_migrations");
  const Answer unready = ask("GET", "/readyz", "");
  EXPECT_EQ(unready.status, 503);
  EXPECT_EQ(unready.body["code"], "NOT_MIGRATED");
  EXPECT_EQ(unready.body["store"]["reachable"], true);
}

TEST_F(Api, ShowsMetricsUnlessTheyAreSwitchedOff) {
  ask("GET", "/healthz", "");
  EXPECT_THAT(ask("GET", "/metrics", "").text,
              HasSubstr("creel_http_requests_total{code=\"200\",method=\"GET\",route=\"/healthz\"} 1\n"));
  settings_.metrics = false;
  EXPECT_EQ(ask("GET", "/metrics", "").status, 404);
}

TEST_F(Api, ServesItsContract) { EXPECT_EQ(ask("GET", "/openapi.json", "").body["openapi"], "3.1.0"); }

// --- who is calling

TEST_F(Api, TakesNoCredentialThatIsNotExactlyRight) {
  for (const std::string& bad : {"sk_" + std::string(64, '0'), std::string{"sk_x"}, ann_key_ + "0", ann_key_.substr(3),
                                 std::string{"' OR 1=1"}, std::string{}}) {
    Api::Answer answer = send({"GET", "/api/keys", {{"Authorization", "Bearer " + bad}}, "", "1.1.1.1"});
    EXPECT_EQ(answer.status, 401) << bad;
    EXPECT_EQ(answer.header("WWW-Authenticate"), "Bearer");
  }
  EXPECT_EQ(send({"GET", "/api/keys", {{"authorization", "bearer  " + ann_key_}}, "", "1.1.1.1"}).status, 200);
  EXPECT_EQ(send({"GET", "/api/keys", {{"Authorization", "Basic " + ann_key_}}, "", "1.1.1.1"}).status, 401);
}

TEST_F(Api, ListsNothingToNobody) {
  const Answer answer = ask("GET", "/api/agents", "");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, (json{{"agents", json::array()}, {"count", 0}, {"status", "ok"}}));
  EXPECT_EQ(ask("GET", "/api/agents", "sk_" + std::string(64, 'f')).body["count"], 0);
}

class ApiSession : public Api {
 protected:
  void SetUp() override {
    Api::SetUp();
    admin_key_ = make_user_with("root@example.com", "enterprise", "active", true);
    const Answer made = ask("POST", "/api/admin/users", admin_key_,
                            {{"email", "Bob@example.com"}, {"password", "correct horse"}, {"plan", "pro"}});
    ASSERT_EQ(made.status, 201) << made.text;
  }
  Answer login(const std::string& email, const std::string& password) {
    return ask("POST", "/api/auth/login", "", {{"email", email}, {"password", password}});
  }
  std::string cookie() {
    const std::string set = login("bob@example.com", "correct horse").header("Set-Cookie");
    return set.substr(0, set.find(';'));
  }
  std::string admin_key_;
};

TEST_F(ApiSession, OpensAndEnds) {
  const Answer in = login("bob@EXAMPLE.com", "correct horse");
  ASSERT_EQ(in.status, 200) << in.text;
  EXPECT_EQ(in.body["user"]["email"], "Bob@example.com");
  EXPECT_EQ(in.body["user"]["role"], "user");
  EXPECT_EQ(in.body["user"]["plan"], "pro");
  EXPECT_EQ(in.body["user"]["subscriptionStatus"], "inactive");
  const std::string set = in.header("Set-Cookie");
  EXPECT_THAT(set, HasSubstr("HttpOnly; SameSite=Lax; Max-Age=2592000"));
  const std::string cookie = set.substr(0, set.find(';'));
  EXPECT_EQ(
      run("SELECT count(*) AS n FROM sessions WHERE digest = $1", {cookie.substr(cookie.find('=') + 1)})[0].integer(
          "n"),
      0)
      << "the secret itself is stored";

  EXPECT_EQ(ask("GET", "/api/auth/session", "", nullptr, {{"Cookie", cookie}}).body["user"]["email"],
            "Bob@example.com");
  const Answer out =
      ask("POST", "/api/auth/logout", "", nullptr, {{"Cookie", cookie}, {"Sec-Fetch-Site", "same-origin"}});
  EXPECT_EQ(out.status, 200);
  EXPECT_THAT(out.header("Set-Cookie"), HasSubstr("creel-session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"));
  EXPECT_EQ(ask("GET", "/api/auth/session", "", nullptr, {{"Cookie", cookie}}).body, (json{{"user", nullptr}}));
}

TEST_F(ApiSession, KnowsTheOwnerOfAKeyToo) {
  EXPECT_EQ(ask("GET", "/api/auth/session", admin_key_).body["user"]["role"], "admin");
  EXPECT_EQ(ask("GET", "/api/auth/session", "").body, (json{{"user", nullptr}}));
}

TEST_F(ApiSession, RefusesAWrongPasswordAndAnUnknownUserAlike) {
  const Answer wrong = login("bob@example.com", "wrong horse");
  const Answer unknown = login("nobody@example.com", "correct horse");
  for (const Answer* answer : {&wrong, &unknown}) {
    EXPECT_EQ(answer->status, 401);
    EXPECT_EQ(answer->body["error"], "Invalid email or password");
    EXPECT_EQ(answer->header("Set-Cookie"), "");
  }
  EXPECT_EQ(login("bob@example.com", "").status, 400);
  EXPECT_EQ(ask("POST", "/api/auth/login", "", {{"email", 5}}).body["field"], "email");
}

TEST_F(ApiSession, StopsGuessingAfterFiveTries) {
  for (int i = 0; i < 5; ++i) EXPECT_EQ(login("bob@example.com", "wrong").status, 401);
  const Answer refused = login("bob@example.com", "correct horse");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.body["code"], "RATE_LIMITED");
  EXPECT_FALSE(refused.header("Retry-After").empty());
  EXPECT_EQ(login("root@example.com", "x").status, 401) << "another e-mail is not held up";
}

TEST_F(ApiSession, NeedsProofOfOriginToChangeAnything) {
  const std::string with = cookie();
  const auto post = [&](api::Headers headers) {
    headers.emplace_back("Cookie", with);
    headers.emplace_back("Host", "creel.example");
    return ask("POST", "/api/keys", "", {{"name", "k"}}, std::move(headers));
  };
  EXPECT_EQ(post({}).body["code"], "CSRF");
  EXPECT_EQ(post({}).status, 403);
  EXPECT_EQ(post({{"Origin", "https://evil.example"}}).status, 403);
  EXPECT_EQ(post({{"Sec-Fetch-Site", "cross-site"}}).status, 403);
  EXPECT_EQ(post({{"Origin", "https://creel.example"}}).status, 201);
  EXPECT_EQ(post({{"Sec-Fetch-Site", "same-origin"}}).status, 201);
  EXPECT_EQ(ask("GET", "/api/keys", "", nullptr, {{"Cookie", with}}).status, 200) << "reading needs none";
  EXPECT_EQ(ask("POST", "/api/auth/login", "", {{"email", "bob@example.com"}, {"password", "correct horse"}},
                {{"Cookie", with}})
                .status,
            200)
      << "logging in again does not rest on the cookie";
}

TEST_F(ApiSession, KeepsUserMakingToAdministrators) {
  EXPECT_EQ(ask("POST", "/api/admin/users", ann_key_, {{"email", "x@example.com"}}).status, 403);
  EXPECT_EQ(ask("POST", "/api/admin/users", "", {{"email", "x@example.com"}}).status, 401);
  settings_.admin_emails = {"ann@example.com"};
  EXPECT_EQ(ask("POST", "/api/admin/users", ann_key_, {{"email", "x@example.com"}}).status, 201);
}

TEST_F(ApiSession, ChecksWhatANewUserIsMadeOf) {
  const auto make = [&](json body) { return ask("POST", "/api/admin/users", admin_key_, body); };
  EXPECT_EQ(make({{"email", "BOB@example.com"}}).body["code"], "EMAIL_TAKEN");
  EXPECT_EQ(make({{"email", "BOB@example.com"}}).status, 409);
  for (const char* bad : {"", "bob", "@b", "a@", "a b@c", "a@b@c"})
    EXPECT_EQ(make({{"email", bad}}).body["field"], "email") << bad;
  EXPECT_EQ(make({{"email", "c@example.com"}, {"password", "short"}}).body["field"], "password");
  EXPECT_EQ(make({{"email", "c@example.com"}, {"plan", "gold"}}).body["field"], "plan");
  EXPECT_EQ(make({{"email", "c@example.com"}, {"subscriptionStatus", "x"}}).body["field"], "subscriptionStatus");
  EXPECT_EQ(make({{"email", "c@example.com"}, {"admin", "yes"}}).body["field"], "admin");
  const Answer made = make({{"email", "c@example.com"}, {"subscriptionStatus", "active"}, {"admin", true}});
  EXPECT_EQ(made.body["user"]["role"], "admin");
  EXPECT_EQ(made.body["user"]["subscriptionStatus"], "active");
  EXPECT_EQ(made.text.find("password"), std::string::npos);
}

TEST_F(ApiSession, LetsPeopleInOnlyWhereSignUpIsOpen) {
  const json who{{"email", "new@example.com"}, {"password", "long enough"}};
  EXPECT_EQ(ask("POST", "/api/auth/signup", "", who).status, 404);
  settings_.signup = true;
  const Answer in = ask("POST", "/api/auth/signup", "", who);
  EXPECT_EQ(in.status, 201);
  EXPECT_EQ(in.body["user"]["plan"], "free");
  EXPECT_THAT(in.header("Set-Cookie"), HasSubstr("creel-session="));
  EXPECT_EQ(ask("POST", "/api/auth/signup", "", who).status, 409);
}

TEST_F(Api, ShowsAKeyOnceAndNeverAgain) {
  const Answer made = ask("POST", "/api/keys", ann_key_, {{"name", " laptop "}});
  ASSERT_EQ(made.status, 201) << made.text;
  const std::string key = made.body["key"];
  EXPECT_EQ(made.body["name"], "laptop");
  EXPECT_EQ(made.body["prefix"], key.substr(0, 8));
  EXPECT_EQ(ask("GET", "/api/keys", key).status, 200);
  const Answer list = ask("GET", "/api/keys", ann_key_);
  EXPECT_EQ(list.body["count"], 2);
  EXPECT_THAT(list.text, Not(HasSubstr(key)));
  EXPECT_EQ(ask("DELETE", "/api/keys/" + made.body["id"].get<std::string>(), ann_key_).status, 200);
  EXPECT_EQ(ask("GET", "/api/keys", key).status, 401);
  EXPECT_EQ(ask("DELETE", "/api/keys/" + made.body["id"].get<std::string>(), ann_key_).status, 404);
}

TEST_F(Api, GivesTenKeysAndLetsThemExpire) {
  for (const json& bad : {json{{"name", ""}}, json{{"name", std::string(65, 'x')}}, json::object(), json{{"name", 1}}})
    EXPECT_EQ(ask("POST", "/api/keys", ann_key_, bad).body["field"], "name");
  EXPECT_EQ(ask("POST", "/api/keys", ann_key_, {{"name", "k"}, {"expiresAt", "2020-01-01T00:00:00Z"}}).body["field"],
            "expiresAt");
  const Answer expiring = ask("POST", "/api/keys", ann_key_, {{"name", "k"}, {"expiresAt", "2099-01-01T00:00:00Z"}});
  EXPECT_EQ(expiring.body["expiresAt"], "2099-01-01T00:00:00Z");
  run("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL");
  EXPECT_EQ(ask("GET", "/api/keys", expiring.body["key"]).status, 401);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(ask("POST", "/api/keys", ann_key_, {{"name", "k"}}).status, 201);
  const Answer eleventh = ask("POST", "/api/keys", ann_key_, {{"name", "k"}});
  EXPECT_EQ(eleventh.status, 429);
  EXPECT_EQ(eleventh.body["code"], "KEY_LIMIT_REACHED");
}

// --- provisioning

TEST_F(Api, ProvisionsARowThatCarriesEverything) {
  const Answer answer = ask("POST", "/api/agents/provision?wait=0", ann_key_,
                            {{"name", "  Fred  "}, {"config", {{"theme", "dark"}}}, {"tier", "starter"}, {"other", 1}});
  ASSERT_EQ(answer.status, 201) << answer.text;
  EXPECT_EQ(answer.body["success"], true);
  const json& agent = answer.body["agent"];
  EXPECT_EQ(agent["name"], "Fred");
  EXPECT_EQ(agent["status"], "provisioning");
  EXPECT_EQ(agent["model"], "claude-opus-4-6");
  const std::string id = agent["id"];
  EXPECT_TRUE(AgentId::parse(id));
  EXPECT_EQ(agent["websocketUrl"], "ws://127.0.0.1:10000/agent/" + id);

  auto tx = begin();
  const auto row = store::get_agent(tx, *AgentId::parse(id)).value();
  ASSERT_TRUE(row);
  EXPECT_EQ(row->owner, ann_.id);
  EXPECT_EQ(row->tier, "starter");
  EXPECT_EQ(row->spec.image, "example/tiny:1");
  EXPECT_EQ(row->spec.resources.memory_bytes, 2048LL << 20);
  EXPECT_EQ(row->version, "1.2.3");
  EXPECT_FALSE(row->spec_hash.empty());
  EXPECT_FALSE(row->files_hash.empty());
  const auto open = [&](const char* name) {
    const auto sealed = store::get_secret(tx, row->id, name).value();
    return sealed ? sealer_.open(*sealed, secrets::secret_context(id, name)).value() : std::string{};
  };
  const std::string token = open("gateway_token");
  EXPECT_EQ(token.size(), 64u);
  const auto files = json::parse(open("files")).get<std::vector<VolumeFile>>();
  ASSERT_EQ(files.size(), 2u);
  const json config = json::parse(files[0].content);
  EXPECT_EQ(config["gateway"]["token"], token);
  EXPECT_EQ(config["theme"], "dark");
  EXPECT_THAT(json(row->spec).dump(), Not(HasSubstr(token)));
  const auto events = store::list_events(tx, row->id, 0, 10).value();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].event.reason, "Provisioned");
  EXPECT_EQ(events[0].event.actor, ann_.id.str());
}

TEST_F(Api, ChecksAProvisioningInTheDocumentedOrder) {
  const std::string poor = make_user_with("poor@example.com", "free", "inactive");
  const auto ask_for = [&](const std::string& key, const json& body) {
    return ask("POST", "/api/agents/provision?wait=0", key, body);
  };
  EXPECT_EQ(ask_for("", json::object()).status, 401);
  const Answer nameless = ask_for(poor, json::object());
  EXPECT_EQ(nameless.status, 400);
  EXPECT_EQ(nameless.body["error"], "Agent name is required");
  EXPECT_EQ(nameless.body["field"], "name");
  const Answer unpaid = ask_for(poor, {{"name", "x"}});
  EXPECT_EQ(unpaid.status, 402);
  EXPECT_EQ(unpaid.body["error"], "Active subscription required to provision agents");
  const std::string one = make_user_with("one@example.com", "starter", "active");
  EXPECT_EQ(ask_for(one, {{"name", "x"}}).status, 201);
  const Answer full = ask_for(one, {{"name", "x"}});
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.body["error"], "Agent limit reached for your plan");
  EXPECT_EQ(full.body["code"], "AGENT_LIMIT_REACHED");
  EXPECT_EQ(full.body["current"], 1);
  EXPECT_EQ(full.body["limit"], 1);
}

TEST_F(Api, NamesTheFieldOfABadProvisioning) {
  const auto field = [&](json body) {
    const Answer answer = ask("POST", "/api/agents/provision?wait=0", ann_key_, body);
    EXPECT_EQ(answer.status, 400) << answer.text;
    EXPECT_EQ(answer.body["code"], "INVALID_BODY");
    return answer.body.value("field", "");
  };
  EXPECT_EQ(field({{"name", "   "}}), "name");
  EXPECT_EQ(field({{"name", std::string(65, 'x')}}), "name");
  EXPECT_EQ(field({{"name", "a\nb"}}), "name");
  EXPECT_EQ(field({{"name", 7}}), "name");
  EXPECT_EQ(field({{"name", "x"}, {"model", "best"}}), "model");
  EXPECT_EQ(field({{"name", "x"}, {"tier", "gold"}}), "tier");
  EXPECT_EQ(field({{"name", "x"}, {"template", "../etc"}}), "template");
  EXPECT_EQ(field({{"name", "x"}, {"config", "text"}}), "config");
  EXPECT_EQ(field({{"name", "x"}, {"config", {{"gateway", {{"bind", "0.0.0.0"}}}}}}), "gateway.bind");
  EXPECT_EQ(run("SELECT count(*) AS n FROM agents")[0].integer("n"), 0);
}

TEST_F(Api, LetsATierLowerButNeverRaise) {
  const std::string starter = make_user_with("s@example.com", "starter", "active");
  EXPECT_EQ(ask("POST", "/api/agents/provision?wait=0", starter, {{"name", "x"}, {"tier", "enterprise"}})
                .body["agent"]["plan"],
            "starter");
  const std::string root = make_user_with("r@example.com", "free", "inactive", true);
  EXPECT_EQ(
      ask("POST", "/api/agents/provision?wait=0", root, {{"name", "x"}, {"tier", "enterprise"}}).body["agent"]["plan"],
      "enterprise")
      << "administrators pay nothing and get what they ask for";
}

TEST_F(Api, CannotBeRacedPastThePlanLimit) {
  std::vector<std::future<Answer>> all;
  for (int i = 0; i < 8; ++i)
    all.push_back(ask_aside("POST", "/api/agents/provision?wait=0", ann_key_, {{"name", "x"}}));
  int made = 0;
  for (auto& one : all) made += one.get().status == 201 ? 1 : 0;
  EXPECT_EQ(made, 3);
  EXPECT_EQ(run("SELECT count(*) AS n FROM agents")[0].integer("n"), 3);
}

TEST_F(Api, AnswersRunningAsSoonAsTheContainerRuns) {
  auto waiting = ask_aside("POST", "/api/agents/provision", ann_key_, {{"name", "x"}});
  ASSERT_TRUE(eventually([&] { return run("SELECT count(*) AS n FROM agents")[0].integer("n") == 1; }));
  observed(run("SELECT id FROM agents")[0].text("id"), Phase::starting);
  const Answer answer = waiting.get();
  EXPECT_EQ(answer.status, 201);
  EXPECT_EQ(answer.body["agent"]["status"], "running");
  EXPECT_EQ(answer.body["agent"]["phase"], "Starting");
}

TEST_F(Api, AnswersProvisioningWhenItTakesLonger) {
  const Answer answer = ask("POST", "/api/agents/provision?wait=0.05", ann_key_, {{"name", "x"}});
  EXPECT_EQ(answer.status, 201);
  EXPECT_EQ(answer.body["agent"]["status"], "provisioning");
  const Answer async = ask("POST", "/api/agents/provision", ann_key_, {{"name", "y"}}, {{"Prefer", "respond-async"}});
  EXPECT_EQ(async.body["agent"]["status"], "provisioning");
}

TEST_F(Api, RepeatsTheFirstAnswerForAnIdempotencyKey) {
  const api::Headers key{{"Idempotency-Key", "order-1"}};
  const auto post = [&](json body) { return ask("POST", "/api/agents/provision?wait=0.01", ann_key_, body, key); };
  const Answer first = post({{"name", "x"}});
  const Answer second = post({{"name", "x"}});
  EXPECT_EQ(first.status, 201);
  EXPECT_EQ(second.status, 201);
  EXPECT_EQ(first.text, second.text);
  EXPECT_EQ(second.header("Idempotency-Replayed"), "true");
  const Answer other = post({{"name", "y"}});
  EXPECT_EQ(other.status, 409);
  EXPECT_EQ(other.body["code"], "IDEMPOTENCY_MISMATCH");
  EXPECT_EQ(run("SELECT count(*) AS n FROM agents")[0].integer("n"), 1);
  EXPECT_EQ(
      ask("POST", "/api/agents/provision", ann_key_, {{"name", "x"}}, {{"Idempotency-Key", std::string(256, 'k')}})
          .status,
      400);
}

TEST_F(Api, MakesOneAgentForRequestsAtTheSameTimeWithOneIdempotencyKey) {
  std::vector<std::future<Answer>> all;
  for (int i = 0; i < 4; ++i)
    all.push_back(std::async(std::launch::async, [&] {
      return ask("POST", "/api/agents/provision?wait=0", ann_key_, {{"name", "x"}}, {{"Idempotency-Key", "k"}});
    }));
  std::set<std::string> answers;
  for (auto& one : all) {
    const Answer answer = one.get();
    EXPECT_EQ(answer.status, 201) << answer.text;
    answers.insert(answer.body["agent"]["id"].get<std::string>());
  }
  EXPECT_EQ(answers.size(), 1u);
}

TEST_F(Api, StillTakesTheDeprecatedRoutes) {
  const Answer made = ask("POST", "/api/agents?wait=0", ann_key_, {{"name", "x"}});
  EXPECT_EQ(made.status, 201);
  EXPECT_FALSE(made.header("Deprecation").empty());
  EXPECT_EQ(made.header("Link"), "</api/agents/provision>; rel=\"successor-version\"");
  const std::string path = "/api/agents/" + made.body["agent"]["id"].get<std::string>();
  const Answer put = ask("PUT", path, ann_key_, {{"a", 1}});
  EXPECT_EQ(put.status, 200);
  EXPECT_FALSE(put.header("Deprecation").empty());
  EXPECT_EQ(put.header("Link"), "<" + path + "/config>; rel=\"successor-version\"");
  const Answer gone = ask("DELETE", path + "?wait=0", ann_key_);
  EXPECT_EQ(gone.status, 200) << gone.text;
  EXPECT_FALSE(gone.header("Deprecation").empty());
  EXPECT_THAT(gone.header("Link"), testing::HasSubstr("/stop>; rel=\"successor-version\""));
}

// --- looking

TEST_F(Api, ListsTheNewestFirstAndPages) {
  std::vector<std::string> ids;
  for (const char* name : {"one", "two", "three"}) {
    ids.push_back(provision(ann_key_, name));
    run("UPDATE agents SET created_at = created_at + interval '1 second' * (SELECT count(*) FROM agents) WHERE id = $1",
        {ids.back()});
  }
  const Answer all = ask("GET", "/api/agents", ann_key_);
  EXPECT_EQ(all.body["count"], 3);
  EXPECT_EQ(all.body["status"], "ok");
  EXPECT_EQ(all.body["agents"][0]["name"], "three");
  EXPECT_FALSE(all.body.contains("nextCursor"));
  const Answer page = ask("GET", "/api/agents?limit=2", ann_key_);
  EXPECT_EQ(page.body["count"], 2);
  const Answer rest = ask("GET", "/api/agents?limit=2&cursor=" + page.body["nextCursor"].get<std::string>(), ann_key_);
  EXPECT_EQ(rest.body["agents"][0]["name"], "one");
  EXPECT_EQ(rest.body["count"], 1);
  EXPECT_EQ(ask("GET", "/api/agents?cursor=rubbish", ann_key_).status, 400);
  const Answer provisioned = ask("GET", "/api/agents/provision", ann_key_);
  EXPECT_EQ(provisioned.body["success"], true);
  EXPECT_EQ(provisioned.body["count"], 3);
}

TEST_F(Api, ShowsAgentsOnlyToTheirOwnersAndAdministrators) {
  const std::string id = provision(ann_key_);
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  const std::string root = make_user_with("root@example.com", "free", "inactive", true);
  EXPECT_EQ(ask("GET", "/api/agents", bob).body["count"], 0);
  EXPECT_EQ(ask("GET", "/api/agents", root).body["count"], 1);
  const std::string path = "/api/agents/" + id;
  for (const auto& [method, target] : std::vector<std::pair<const char*, std::string>>{{"GET", path},
                                                                                       {"GET", path + "/config"},
                                                                                       {"PUT", path + "/config"},
                                                                                       {"PUT", path},
                                                                                       {"DELETE", path},
                                                                                       {"GET", path + "/logs"},
                                                                                       {"GET", path + "/stats"},
                                                                                       {"GET", path + "/plan"},
                                                                                       {"GET", path + "/events"}}) {
    const json body = std::string_view{method} == "PUT" ? json::object() : json(nullptr);
    const Answer foreign = ask(method, target, bob, body);
    const Answer unknown = ask(method, std::string{target}.replace(12, 16, kUnknown), bob, body);
    EXPECT_EQ(foreign.status, 404) << method << " " << target;
    EXPECT_EQ(foreign.body["error"], "Agent not found");
    EXPECT_EQ(unknown.status, 404);
    EXPECT_EQ(foreign.body["code"], unknown.body["code"]);
    EXPECT_EQ(ask(method, target, "", body).status, 401) << method << " " << target;
  }
  EXPECT_EQ(ask("GET", path, root).status, 200);
  EXPECT_EQ(ask("GET", path, ann_key_).body["agent"]["id"], id);
  EXPECT_EQ(ask("GET", "/api/agents/not-an-id", ann_key_).status, 404);
}

TEST_F(Api, ShowsWhatTheReconcilerWouldDo) {
  const std::string id = provision(ann_key_);
  AgentStatus status = observed(id, Phase::failed);
  status.plan = "remove: the spec changed\ncreate: the spec changed\nwait: the image: half of it";
  status.message = "no such image";
  status.cause = "ImageUnavailable";
  status.last_lines = {"last words"};
  status.seen = {"exited", "present", "failed", std::nullopt, 7};
  status.runtime_id = "c1";
  status.next_attempt = parse_rfc3339("2026-03-19T00:00:00Z");
  record(id, status);
  const Answer answer = ask("GET", "/api/agents/" + id + "/plan", ann_key_);
  EXPECT_EQ(answer.body["plan"], status.plan);
  EXPECT_EQ(answer.body["actions"], json::parse(R"([{"action":"remove","why":"the spec changed"},
                                                    {"action":"create","why":"the spec changed"}])"));
  EXPECT_EQ(answer.body["waitingFor"], "the image: half of it");
  EXPECT_EQ(answer.body["cause"],
            json::parse(R"({"reason":"ImageUnavailable","message":"no such image","log":["last words"]})"));
  EXPECT_EQ(answer.body["observed"],
            json::parse(R"({"container":"exited","containerId":"c1","startedAt":null,"exits":7,"ready":null,
                            "volume":"present","image":"failed"})"));
  EXPECT_EQ(answer.body["nextAttempt"], "2026-03-19T00:00:00Z");
  EXPECT_EQ(answer.body["phase"], "Failed");
  EXPECT_EQ(answer.body["message"], "no such image");
  EXPECT_EQ(answer.body["status"], "ok");
  status = observed(id, Phase::ready);
  status.plan = "converged";
  record(id, status);
  const Answer converged = ask("GET", "/api/agents/" + id + "/plan", ann_key_);
  EXPECT_EQ(converged.body["actions"], json::array());
  EXPECT_EQ(converged.body["waitingFor"], nullptr);
  EXPECT_EQ(converged.body["cause"], nullptr);
}

TEST_F(Api, PagesThroughEvents) {
  const std::string id = provision(ann_key_, "one");
  const std::string bob = make_user_with("bob@example.com", "pro", "active");
  provision(bob, "bobs");
  ask("GET", "/api/instance/" + id + "/token", ann_key_);
  const Answer all = ask("GET", "/api/events", ann_key_);
  ASSERT_EQ(all.body["count"], 2) << all.text;
  EXPECT_EQ(all.body["events"][0]["reason"], "Provisioned");
  EXPECT_EQ(all.body["events"][1]["reason"], "TokenRead");
  EXPECT_EQ(all.body["events"][1]["kind"], "audit");
  const Answer first = ask("GET", "/api/agents/" + id + "/events?limit=1", ann_key_);
  EXPECT_EQ(first.body["more"], true);
  const Answer second = ask("GET", "/api/agents/" + id + "/events?after=" + first.body["nextAfter"].dump(), ann_key_);
  EXPECT_EQ(second.body["events"][0]["reason"], "TokenRead");
  EXPECT_EQ(ask("GET", "/api/events?after=x", ann_key_).status, 400);

  // From the newest back: of an agent, of all of an owner's, of all there are.
  const std::string root = make_user_with("root@example.com", "free", "inactive", true);
  const std::string own = "/api/agents/" + id + "/events";
  for (const auto& [path, key, newest] :
       {std::tuple{own, ann_key_, "TokenRead"}, std::tuple{std::string{"/api/events"}, ann_key_, "TokenRead"},
        std::tuple{std::string{"/api/events"}, root, "TokenRead"}}) {
    const Answer last = ask("GET", path + "?newest=true&limit=1", key);
    ASSERT_EQ(last.body["count"], 1) << last.text;
    EXPECT_EQ(last.body["events"][0]["reason"], newest);
    EXPECT_FALSE(last.body.contains("nextCursor")) << "which would lead to older ones the other way";
    const Answer older = ask("GET", path + "?before=" + last.body["nextBefore"].dump(), key);
    EXPECT_EQ(older.body["count"], key == root ? 2 : 1) << older.text;
    EXPECT_EQ(older.body["events"][0]["reason"], "Provisioned");
    EXPECT_FALSE(older.body.contains("nextBefore"));
    EXPECT_EQ(ask("GET", path + "?newest=true&after=" + last.body["nextAfter"].dump(), key).body["count"], 0);
  }
  const Answer both = ask("GET", own + "?newest=true", ann_key_);
  EXPECT_EQ(both.body["events"][1]["reason"], "TokenRead") << "oldest first";
  for (const char* wrong :
       {"before=x", "before=-1", "newest=perhaps", "newest=true&follow=true", "before=3&follow=true"})
    EXPECT_EQ(ask("GET", own + "?" + wrong, ann_key_).status, 400) << wrong;
  EXPECT_EQ(ask("GET", "/api/events", root).body["count"], 3);
}

// --- configuration

TEST_F(Api, ReplacesTheConfigurationWhole) {
  const std::string id = provision(ann_key_);
  const std::string path = "/api/agents/" + id + "/config";
  const Answer empty = ask("GET", path, ann_key_);
  EXPECT_EQ(empty.body["config"], json::object());
  EXPECT_EQ(empty.body["status"], "ok");
  EXPECT_FALSE(empty.header("ETag").empty());
  const std::uint64_t before = generation(id);
  const Answer put =
      ask("PUT", path, ann_key_, {{"apiKey", "sk-secret-value"}, {"deep", {{"a", json::array({1, 2})}}}});
  EXPECT_EQ(put.status, 200) << put.text;
  EXPECT_EQ(put.body["status"], "updated");
  EXPECT_NE(put.header("ETag"), empty.header("ETag"));
  EXPECT_EQ(generation(id), before + 1);
  const Answer got = ask("GET", path, ann_key_);
  EXPECT_EQ(got.body["config"]["apiKey"], "sk-secret-value");
  EXPECT_EQ(got.header("ETag"), put.header("ETag"));
  EXPECT_EQ(ask("PUT", path, ann_key_, {{"other", 1}}).status, 200);
  EXPECT_EQ(ask("GET", path, ann_key_).body["config"], (json{{"other", 1}}));
  EXPECT_EQ(run("SELECT count(*) AS n FROM agents WHERE agents::text LIKE '%sk-secret-value%'")[0].integer("n"), 0);
}

TEST_F(Api, WritesAConfigurationOnlyOverTheOneThatWasRead) {
  const std::string id = provision(ann_key_);
  const std::string path = "/api/agents/" + id + "/config";
  const std::string etag = ask("GET", path, ann_key_).header("ETag");
  EXPECT_EQ(ask("PUT", path, ann_key_, {{"a", 1}}, {{"If-Match", "\"x\", " + etag}}).status, 200);
  const Answer stale = ask("PUT", path, ann_key_, {{"a", 2}}, {{"If-Match", etag}});
  EXPECT_EQ(stale.status, 412);
  EXPECT_EQ(stale.body["code"], "PRECONDITION_FAILED");
  EXPECT_EQ(ask("GET", path, ann_key_).body["config"]["a"], 1);
  EXPECT_EQ(ask("PUT", path, ann_key_, {{"a", 3}}, {{"If-Match", "*"}}).status, 200);
}

TEST_F(Api, RefusesAConfigurationThatBreaksIsolation) {
  const std::string id = provision(ann_key_);
  const std::string path = "/api/agents/" + id + "/config";
  const std::uint64_t before = generation(id);
  const Answer refused = ask("PUT", path, ann_key_, {{"gateway", {{"bind", "lan"}}}});
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.body["field"], "gateway.bind");
  EXPECT_EQ(ask("PUT", path, ann_key_, json::array()).status, 400);
  EXPECT_EQ(ask("PUT", path, ann_key_).status, 400);
  EXPECT_EQ(generation(id), before);
}

}  // namespace
}  // namespace creel::test
