#include "controller/cli/cli.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "controller/cli/api_client.hpp"
#include "controller/cli/doctor.hpp"
#include "tests/support/support.hpp"
#include "tests/unit/gateway_fake_server.hpp"

namespace creel::cli {
namespace {

namespace fs = std::filesystem;
using test::ClosedPort;
using test::FakeServer;
using test::http_answer;

class CliTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "creel-cli-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    state_ = pattern;
    environment_ = {{"CREEL_STATE_DIR", state_},
                    {"CREEL_SHARE_DIR", test::source_dir()},
                    {"CREEL_API_KEY", "sk_test"},
                    {"NO_COLOR", "1"}};
  }
  void TearDown() override { fs::remove_all(state_); }

  int creel(std::vector<std::string> arguments, const std::string& input = "", std::size_t width = 80) {
    std::istringstream in{input};
    out_.str("");
    err_.str("");
    return run(arguments, environment_, Io{in, out_, err_, width}, [this](const Config& config) {
      served_ = config.listen.str();
      return 7;
    });
  }
  void talk_to(const FakeServer& server) { environment_["CREEL_URL"] = "http://" + server.address(); }

  std::string state_;
  config::Environment environment_;
  std::ostringstream out_, err_;
  std::string served_;
};

TEST_F(CliTest, PrintsItsVersionAlone) {
  EXPECT_EQ(creel({"version"}), 0);
  EXPECT_EQ(out_.str(), version_line() + "\n");
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CliTest, ProvisionsWithChannelsWhoseTokensAreNotOnTheCommandLine) {
  FakeServer server{[](const std::string&) {
    return http_answer(
        201,
        R"({"success":true,"userId":"0123456789abcdef","name":"agent-012345","status":"running","streamKey":null,"liveStreamId":null,)"
        R"("warnings":["no live stream"],"whatsapp":{"webhookPath":"/api/channels/whatsapp/0123456789abcdef/webhook","verifyToken":"f00d"}})");
  }};
  talk_to(server);
  environment_["TG"] = "1:tg-token";
  std::ofstream{state_ + "/key"} << " sk-file-key \n\n";
  EXPECT_EQ(creel({"provision", "--telegram-token", "env:TG", "--telegram-user-id", "42", "--whatsapp-token", "-",
                   "--ai-provider", "openai", "--provider-key", state_ + "/key", "--tier", "free"},
                  "wa-token\nrest\n"),
            0)
      << err_.str();
  ASSERT_EQ(server.requests().size(), 1u);
  const std::string request = server.requests()[0];
  EXPECT_EQ(request.find("POST /api/provision HTTP/1.1"), 0u);
  EXPECT_EQ(nlohmann::json::parse(request.substr(request.find("\r\n\r\n") + 4)),
            nlohmann::json::parse(
                R"({"telegramToken":"1:tg-token","telegramUserId":"42","whatsappToken":"wa-token","aiProvider":"openai",
                    "apiKey":"sk-file-key","plan":"free"})"));
  EXPECT_NE(out_.str().find("0123456789abcdef"), std::string::npos);
  EXPECT_NE(out_.str().find("f00d"), std::string::npos);
  EXPECT_NE(err_.str().find("no live stream"), std::string::npos);
}

TEST_F(CliTest, SaysWhichSourceOfASecretIsEmpty) {
  std::ofstream{state_ + "/empty"} << "\n";
  for (const std::string& source :
       {std::string{"env:NOT_SET"}, state_ + "/none", state_ + "/empty", std::string{"-"}}) {
    EXPECT_EQ(creel({"provision", "--telegram-token", source}), 1);
    EXPECT_NE(err_.str().find("telegramToken"), std::string::npos) << err_.str();
  }
}

TEST_F(CliTest, TakesOneSecretAtMostFromStandardInput) {
  EXPECT_EQ(creel({"provision", "--telegram-token", "-", "--provider-key", "-"}, "a\nb\n"), 1);
  EXPECT_NE(err_.str().find("standard input"), std::string::npos);
}

TEST_F(CliTest, SetsAndRemovesACredentialAndRotatesTheToken) {
  FakeServer server{[](const std::string& request) {
    return http_answer(200, request.find("rotate") == std::string::npos ? R"({"success":true,"key":"openai"})"
                                                                        : R"({"token":"abc","accepted":true})");
  }};
  talk_to(server);
  EXPECT_EQ(creel({"agents", "set-credential", "0123456789abcdef", "openai", "--from", "-"}, "sk-1234567\n"), 0);
  EXPECT_EQ(creel({"agents", "set-credential", "0123456789abcdef", "openai", "--remove"}), 0);
  EXPECT_EQ(creel({"agents", "set-credential", "0123456789abcdef", "openai"}), 2);
  EXPECT_EQ(creel({"agents", "rotate-token", "0123456789abcdef"}), 0);
  EXPECT_EQ(out_.str(), "abc\n");
  ASSERT_EQ(server.requests().size(), 3u);
  EXPECT_NE(server.requests()[0].find(R"("value":"sk-1234567")"), std::string::npos);
  EXPECT_NE(server.requests()[1].find(R"("value":"")"), std::string::npos);
  EXPECT_EQ(server.requests()[2].find("POST /api/instance/0123456789abcdef/token/rotate HTTP/1.1"), 0u);
}

TEST_F(CliTest, PrintsAnAddressThatOpensAnAgentsPages) {
  FakeServer server{[](const std::string&) {
    return http_answer(201,
                       R"({"ticket":"t","url":"https://a.test/?token=t","gatewayUrl":"http://gw/agent/a/?token=t"})");
  }};
  talk_to(server);
  EXPECT_EQ(creel({"agents", "open", "0123456789abcdef"}), 0);
  EXPECT_EQ(out_.str(), "http://gw/agent/a/?token=t\n");
  EXPECT_EQ(server.requests()[0].find("POST /api/agents/0123456789abcdef/ticket HTTP/1.1"), 0u);
}

TEST_F(CliTest, ExitsWithTwoOnAWrongCommandLineAndSaysWhatIsWrong) {
  const std::pair<std::vector<std::string>, const char*> wrong[] = {
      {{}, "subcommand is required"},
      {{"agents"}, "subcommand is required"},
      {{"agnets", "list"}, "there is no command \"agnets\"; did you mean `creel agents`?"},
      {{"agents", "lst"}, "did you mean `creel agents list`?"},
      {{"stop", "demo"}, "did you mean `creel agents stop`?"},
      {{"agents", "list", "--jsno"}, "there is no option \"--jsno\" of `creel agents list`; did you mean `--json`?"},
      {{"agents", "show", "x", "--wtach"}, "did you mean `--watch`?"},
      {{"completion", "tcsh"}, "tcsh"},
      {{"agents", "list", "--color", "sometimes"}, "sometimes"},
      {{"nonsense"}, "there is no command \"nonsense\""},
      {{"agents", "nonsense"}, "there is no command \"nonsense\""},
      {{"agents", "show"}, "ID is required"},
      {{"provision"}, "--name is required"},
      {{"agents", "logs", "x", "--limit", "101"}, "101"},
      {{"version", "--nonsense"}, "--nonsense"},
      {{"user", "add", "--email", "a@b.c", "--subscription", "gold"}, "gold"},
      {{"user", "set", "--email", "a@b.c", "--admin", "--no-admin"}, "--no-admin"},
      {{"config", "--api-key", "sk_x"}, "--api-key"},
  };
  for (const auto& [arguments, expected] : wrong) {
    EXPECT_EQ(creel(arguments), 2);
    EXPECT_NE(err_.str().find(expected), std::string::npos) << err_.str();
    EXPECT_EQ(out_.str(), "");
  }
}

TEST_F(CliTest, HelpsOnStandardOutput) {
  EXPECT_EQ(creel({"--help"}), 0);
  EXPECT_NE(out_.str().find("provision"), std::string::npos);
  EXPECT_EQ(creel({"serve", "--help"}), 0);
  EXPECT_NE(out_.str().find("CREEL_MASTER_KEY"), std::string::npos);
  EXPECT_NE(out_.str().find("--state-dir, CREEL_STATE_DIR"), std::string::npos);
}

TEST_F(CliTest, TakesSettingsBeforeAndAfterTheCommand) {
  EXPECT_EQ(creel({"--listen", "127.0.0.1:81", "serve"}), 7);
  EXPECT_EQ(served_, "127.0.0.1:81");
  EXPECT_EQ(creel({"serve", "--listen=127.0.0.1:82"}), 7);
  EXPECT_EQ(served_, "127.0.0.1:82");
}

TEST_F(CliTest, DoesNotServeWithABadSetting) {
  environment_["CREEL_LISTEN"] = "x";
  EXPECT_EQ(creel({"serve"}), 1);
  EXPECT_EQ(served_, "");
  EXPECT_EQ(err_.str().find("creel: CREEL_LISTEN: "), 0u);
}

TEST_F(CliTest, PrintsItsConfigurationWithoutSecrets) {
  EXPECT_EQ(creel({"config", "--json"}), 0);
  const auto printed = nlohmann::json::parse(out_.str());
  EXPECT_EQ(printed["state_dir"]["value"], state_);
  EXPECT_EQ(printed["api_key"]["value"], "********");
}

TEST_F(CliTest, AsksWhetherCreelIsRunningWhenNothingAnswers) {
  const ClosedPort port;
  environment_["CREEL_URL"] = "http://" + port.address();
  EXPECT_EQ(creel({"agents", "list"}), 1);
  EXPECT_NE(err_.str().find("is `creel serve` running there?"), std::string::npos) << err_.str();
  EXPECT_NE(err_.str().find(port.address()), std::string::npos);
  EXPECT_EQ(out_.str(), "");
}

TEST_F(CliTest, ListsAgentsInATableOrAsJson) {
  const std::string body =
      R"({"agents":[{"id":"0123456789abcdef","name":"My \u001b[31mAgent","model":"claude-opus-4-6","status":"running","phase":"Ready","createdAt":"2026-03-01T00:00:00Z"}],"count":1,"status":"ok"})";
  FakeServer server{[&](const std::string&) { return http_answer(200, body); }};
  talk_to(server);
  EXPECT_EQ(creel({"agents", "list"}), 0);
  EXPECT_NE(out_.str().find("0123456789abcdef  My ?[31mAgent  Ready"), std::string::npos) << out_.str();
  EXPECT_EQ(creel({"agents", "list", "--json"}), 0);
  EXPECT_EQ(nlohmann::json::parse(out_.str()), nlohmann::json::parse(body));
  EXPECT_EQ(server.requests().at(0).find("GET /api/agents HTTP/1.1"), 0u);
  EXPECT_NE(server.requests().at(0).find("uthorization: Bearer sk_test\r\n"), std::string::npos);
}

TEST_F(CliTest, ProvisionsWithWhatItWasGiven) {
  FakeServer server{[](const std::string&) {
    return http_answer(
        201,
        R"({"success":true,"agent":{"id":"0123456789abcdef","name":"demo","status":"provisioning","websocketUrl":"ws://x","model":"custom","createdAt":"2026-03-19T00:00:00Z"}})");
  }};
  talk_to(server);
  EXPECT_EQ(creel({"provision", "--name", "demo", "--model", "custom", "--template", "reference", "--tier", "pro",
                   "--config-file", "-", "--wait", "0", "--idempotency-key", "k1"},
                  R"({"a": 1})"),
            0);
  EXPECT_EQ(out_.str().find("id         0123456789abcdef\n"), 0u) << out_.str();
  EXPECT_NE(err_.str().find("`creel agents show 0123456789abcdef --watch`"), std::string::npos);
  const std::string request = server.requests().at(0);
  EXPECT_EQ(request.find("POST /api/agents/provision?wait=0 HTTP/1.1"), 0u);
  EXPECT_NE(request.find("idempotency-key: k1"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(request.substr(request.find("\r\n\r\n") + 4)),
            nlohmann::json::parse(
                R"({"name": "demo", "model": "custom", "template": "reference", "tier": "pro", "config": {"a": 1}})"));
}

TEST_F(CliTest, SendsNothingWhenTheConfigurationFileIsNotJson) {
  FakeServer server{[](const std::string&) { return http_answer(201, "{}"); }};
  talk_to(server);
  EXPECT_EQ(creel({"provision", "--name", "demo", "--config-file", "-"}, "[1]"), 1);
  EXPECT_EQ(creel({"provision", "--name", "demo", "--config-file", "/nonexistent"}), 1);
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(CliTest, CallsTheDocumentedRoutes) {
  FakeServer server{
      [](const std::string&) { return http_answer(200, R"({"success":true,"status":"running","reply":"hi"})"); }};
  talk_to(server);
  const std::pair<std::vector<std::string>, const char*> calls[] = {
      {{"agents", "show", "a/b"}, "GET /api/agents/a%2Fb HTTP"},
      {{"agents", "start", "x"}, "POST /api/instance/x/start HTTP"},
      {{"agents", "stop", "x", "--wait", "5"}, "POST /api/instance/x/stop?wait=5 HTTP"},
      {{"agents", "restart", "x"}, "POST /api/instance/x/restart HTTP"},
      {{"agents", "repair", "x"}, "POST /api/instance/x/repair HTTP"},
      {{"agents", "logs", "x", "--limit", "7", "--level", "warn"}, "GET /api/agents/x/logs?limit=7&level=warn HTTP"},
      {{"agents", "messages", "x", "--limit", "7"}, "GET /api/agents/x/messages?limit=7 HTTP"},
      {{"agents", "sessions", "x"}, "GET /api/agent?action=sessions&agentId=x HTTP"},
      {{"agents", "stats", "x"}, "GET /api/agents/x/stats HTTP"},
      {{"agents", "stats", "x", "--history", "--range", "24h"}, "GET /api/agents/x/stats/history?range=24h HTTP"},
      {{"agents", "plan", "x"}, "GET /api/agents/x/plan HTTP"},
      {{"agents", "delete", "x"}, "DELETE /api/agents/x HTTP"},
      {{"agents", "delete", "x", "--purge"}, "DELETE /api/agents/x?purge=true HTTP"},
      {{"orphans"}, "GET /api/admin/orphans HTTP"},
      {{"chat", "x", "hello"}, "POST /api/chat HTTP"},
  };
  for (const auto& [arguments, expected] : calls) {
    const std::size_t before = server.requests().size();
    EXPECT_EQ(creel(arguments), 0) << expected << err_.str();
    // Beside it there may be looks at how the agent does.
    const auto requests = server.requests();
    EXPECT_TRUE(std::any_of(requests.begin() + static_cast<std::ptrdiff_t>(before), requests.end(),
                            [&](const std::string& request) { return request.starts_with(expected); }))
        << expected << "\n"
        << requests.back();
  }
  EXPECT_EQ(out_.str(), "hi\n");
  EXPECT_NE(server.requests().back().find(R"({"agentId":"x","message":"hello"})"), std::string::npos);
}

TEST_F(CliTest, ShowsAPlanWithItsCauseTheLogAndTheNextTry) {
  FakeServer server{[](const std::string&) {
    return http_answer(
        200,
        R"({"agentId":"x","desired":"running","phase":"CrashLooping","message":"out of memory","nextAttempt":"2026-03-19T00:01:00Z",)"
        R"("observedAt":"2026-03-19T00:00:00Z","observed":{"container":"exited","containerId":"c1","startedAt":null,"exits":7,)"
        R"("ready":null,"volume":"present","image":"present"},"actions":[],"waitingFor":"the next try","plan":"wait: the next try",)"
        R"("cause":{"reason":"OOMKilled","message":"out of memory","log":["one","two"]},"status":"ok"})");
  }};
  talk_to(server);
  EXPECT_EQ(creel({"agents", "plan", "x"}), 0) << err_.str();
  for (const char* part : {"container exited, volume present, image present, ended 7 times", "OOMKilled",
                           "2026-03-19T00:01:00Z", "  one\n  two\n", "wait: the next try"})
    EXPECT_NE(out_.str().find(part), std::string::npos) << part << "\n" << out_.str();
}

TEST_F(CliTest, ShowsAPlanThatIsNoWiderThanTheTerminal) {
  FakeServer server{[](const std::string&) {
    return http_answer(
        200,
        R"({"desired":"running","phase":"Failed","observed":{"container":"exited","volume":"present","image":"present"},)"
        R"("plan":"start: running is wanted and the container exited with code 0\nwait: a while",)"
        R"("cause":{"reason":"Exited","log":["a line of its log that goes on and on and on"]}})");
  }};
  talk_to(server);
  EXPECT_EQ(creel({"agents", "plan", "00000000000000aa"}, "", 40), 0) << err_.str();
  std::istringstream lines{out_.str()};
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 40u) << out_.str();
  EXPECT_NE(out_.str().find("start: running is wanted and the\ncontainer exited with code 0\nwait: a while\n"),
            std::string::npos)
      << out_.str();
}

TEST_F(CliTest, ListsOrphansWithTheirAgeAndWhatWillBecomeOfThem) {
  FakeServer server{[](const std::string&) {
    return http_answer(
        200,
        R"({"orphans":[{"kind":"volume","name":"creel-00000000000000aa","id":"creel-00000000000000aa","agentId":"00000000000000aa",)"
        R"("cause":"AgentDeleted","message":"it goes at noon","problem":"in use","firstSeen":"2026-03-19T00:00:00Z",)"
        R"("lastSeen":"2026-03-19T01:00:00Z","removeAt":"2026-03-19T12:00:00Z"}],"count":1,"mode":"deleted","graceSeconds":60,)"
        R"("volumeGraceSeconds":60,"lookedAt":"2026-03-19T01:00:00Z","problem":"the engine was away"})");
  }};
  talk_to(server);
  EXPECT_EQ(creel({"orphans"}), 0) << err_.str();
  for (const char* part : {"creel-00000000000000aa", "AgentDeleted", "it goes at noon (in use)", "d "})
    EXPECT_NE(out_.str().find(part), std::string::npos) << part << "\n" << out_.str();
  EXPECT_EQ(err_.str(), "1 orphans as of 2026-03-19T01:00:00Z.\nThe last look failed: the engine was away\n");
}

TEST_F(CliTest, ShowsTheApisReasonAndARemedy) {
  struct Case {
    int status;
    const char* body;
    std::vector<const char*> expected;
  };
  for (
      const Case& c :
      {Case{401, R"({"error":"Unauthorized","code":"UNAUTHORIZED"})", {"Unauthorized", "creel key create"}},
       Case{402,
            R"({"error":"Active subscription required to provision agents"})",
            {"Active subscription", "creel user set"}},
       Case{
           409,
           R"({"error":"The agent is stopped; start it with POST /api/x","code":"AGENT_NOT_RUNNING","agentId":"00aa"})",
           {"the agent is stopped; start it with `creel agents start 00aa`"}},
       Case{502,
            R"({"error":"out of memory","code":"AGENT_FAILED","agentId":"00aa"})",
            {"`creel agents plan 00aa` says why"}},
       Case{429, R"({"error":"Agent limit reached for your plan","current":3,"limit":3})", {"(3 of 3)"}},
       Case{502,
            R"({"success":false,"status":"error","error":"The engine is away","pending":true,"requestId":"r1"})",
            {"The engine is away", "the wish is stored", "request r1"}},
       Case{503, R"({"error":"The store is away"})", {"creel doctor"}}, Case{404, "<html>", {"is CREEL_URL right?"}},
       Case{200, "<html>", {"is CREEL_URL right?"}}}) {
    FakeServer server{[&c](const std::string&) { return http_answer(c.status, c.body); }};
    talk_to(server);
    EXPECT_EQ(creel({"agents", "start", "x"}), 1);
    for (const char* expected : c.expected) EXPECT_NE(err_.str().find(expected), std::string::npos) << err_.str();
    EXPECT_EQ(err_.str().find("sk_test"), std::string::npos);
  }
}

TEST_F(CliTest, TellsWhichAgentWasMeant) {
  FakeServer server{[](const std::string& request) {
    if (request.starts_with("GET /api/agents HTTP"))
      return http_answer(
          200, R"({"agents":[{"id":"00000000000000aa","name":"demo"},{"id":"00000000000000bb","name":"b"}]})");
    if (request.find("/api/instance/") != std::string::npos) return http_answer(403, R"({"error":"Forbidden"})");
    return http_answer(404, R"({"error":"Agent not found","code":"AGENT_NOT_FOUND"})");
  }};
  talk_to(server);
  EXPECT_EQ(creel({"agents", "show", "dmeo"}), 1);
  EXPECT_EQ(err_.str(),
            "creel: there is no agent \"dmeo\"; did you mean \"demo\"? `creel agents list` shows what there is\n");
  EXPECT_EQ(creel({"agents", "stop", "00000000000000ab"}), 1);
  EXPECT_NE(err_.str().find("did you mean \"00000000000000aa\"?"), std::string::npos) << err_.str();
  EXPECT_EQ(creel({"agents", "logs", "another"}), 1);
  EXPECT_EQ(err_.str(), "creel: there is no agent \"another\"; `creel agents list` shows what there is\n");
  // One that is in the list is refused for another reason.
  EXPECT_EQ(creel({"agents", "stop", "00000000000000bb"}), 1);
  EXPECT_NE(err_.str().find("Forbidden"), std::string::npos) << err_.str();
}

TEST_F(CliTest, TakesAnAgentsNameForItsIdUnlessSeveralHaveIt) {
  FakeServer server{[](const std::string& request) {
    if (request.starts_with("GET /api/agents HTTP"))
      return http_answer(200,
                         R"({"agents":[{"id":"00000000000000aa","name":"demo"},{"id":"00000000000000bb","name":"two"},
                                            {"id":"00000000000000cc","name":"two"}]})");
    return http_answer(200, R"({"agent":{"id":"00000000000000aa","phase":"Ready"}})");
  }};
  talk_to(server);
  EXPECT_EQ(creel({"agents", "show", "demo"}), 0) << err_.str();
  EXPECT_EQ(server.requests().back().find("GET /api/agents/00000000000000aa HTTP"), 0u);
  EXPECT_EQ(creel({"agents", "show", "two"}), 1);
  EXPECT_NE(err_.str().find("00000000000000bb, 00000000000000cc"), std::string::npos) << err_.str();
}

TEST_F(CliTest, SaysWhatWentWrongAsTheApiDoesWithJson) {
  FakeServer server{[](const std::string&) {
    return http_answer(
        429, R"({"error":"Agent limit reached","code":"AGENT_LIMIT_REACHED","current":3,"limit":3,"requestId":"r1"})");
  }};
  talk_to(server);
  EXPECT_EQ(creel({"provision", "--name", "n", "--json"}), 1);
  EXPECT_EQ(out_.str(), "");
  const auto refused = nlohmann::json::parse(err_.str());
  EXPECT_EQ(refused["error"], "Agent limit reached");
  EXPECT_EQ(refused["code"], "AGENT_LIMIT_REACHED");
  EXPECT_EQ(refused["requestId"], "r1");
  EXPECT_NE(refused["hint"].get<std::string>().find("creel agents delete"), std::string::npos);
  const ClosedPort port;
  environment_["CREEL_URL"] = "http://" + port.address();
  EXPECT_EQ(creel({"agents", "list", "--json"}), 1);
  EXPECT_EQ(nlohmann::json::parse(err_.str())["code"], "UNREACHABLE");
  EXPECT_EQ(creel({"agents", "lst", "--json"}), 2);
  EXPECT_EQ(nlohmann::json::parse(err_.str())["code"], "USAGE");
  EXPECT_EQ(creel({"user", "add", "--email", "nobody", "--json"}), 1);
  EXPECT_EQ(nlohmann::json::parse(err_.str())["field"], "--email");
  EXPECT_EQ(creel({"version", "--json"}), 0);
  EXPECT_EQ("creel " + nlohmann::json::parse(out_.str())["version"].get<std::string>(), version_line());
}

TEST_F(CliTest, PaintsPhasesOnATerminalOrWhenTold) {
  FakeServer server{[](const std::string&) {
    return http_answer(200, R"({"agents":[{"id":"00000000000000aa","name":"demo","phase":"Failed"}]})");
  }};
  talk_to(server);
  const auto painted = [&](const std::vector<std::string>& arguments, std::size_t width) {
    EXPECT_EQ(creel(arguments, "", width), 0);
    return out_.str().find("\x1b[31mFailed\x1b[0m") != std::string::npos;
  };
  EXPECT_FALSE(painted({"agents", "list"}, 80)) << "NO_COLOR";
  EXPECT_TRUE(painted({"agents", "list", "--color", "always"}, 0));
  environment_.erase("NO_COLOR");
  EXPECT_TRUE(painted({"agents", "list"}, 80));
  EXPECT_FALSE(painted({"agents", "list"}, 0));
  EXPECT_FALSE(painted({"agents", "list", "--color", "never"}, 80));
  environment_["TERM"] = "dumb";
  EXPECT_FALSE(painted({"agents", "list"}, 80));
}

TEST_F(CliTest, ShowsAConversationAsItWentHarmlessForTheTerminal) {
  FakeServer server{[](const std::string&) {
    return http_answer(200, R"({"messages":[
      {"sender":"agent","platform":"api","timestamp":"2026-03-19T00:00:02Z","content":"one\ntwo\u001b[31m"},
      {"sender":"user","platform":"api","timestamp":"2026-03-19T00:00:00Z","content":"Hello!","error":"it broke"}]})");
  }};
  talk_to(server);
  EXPECT_EQ(creel({"agents", "messages", "x"}), 0) << err_.str();
  EXPECT_EQ(out_.str(),
            "2026-03-19T00:00:00Z  user  api\n  Hello!\n  no reply: it broke\n"
            "2026-03-19T00:00:02Z  agent  api\n  one\n  two?[31m\n");
}

TEST_F(CliTest, ListsSessionsWithTimesForPeople) {
  FakeServer server{[](const std::string&) {
    return http_answer(200, R"({"sessions":[{"id":"sess_1","status":"active","platform":"api","key":"topic:general",
      "messageCount":5,"lastActivity":1710810000000}]})");
  }};
  talk_to(server);
  EXPECT_EQ(creel({"agents", "sessions", "x"}), 0) << err_.str();
  EXPECT_NE(out_.str().find("2024-03-19T01:00:00Z"), std::string::npos) << out_.str();
}

TEST_F(CliTest, FailsWhenTheLogStreamFails) {
  FakeServer server{[](const std::string&) {
    return std::string{
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        "event: error\ndata: {\"error\":\"The engine went away\"}\n\n"};
  }};
  talk_to(server);
  EXPECT_EQ(creel({"agents", "logs", "00000000000000aa", "-f"}), 1);
  EXPECT_NE(err_.str().find("The engine went away"), std::string::npos);
  EXPECT_EQ(out_.str(), "");
}

TEST_F(CliTest, ListsBeyondTheFirstPage) {
  FakeServer server{[](const std::string& request) {
    const bool first = request.find("cursor=") == std::string::npos;
    return http_answer(200, first ? R"({"agents":[{"id":"a"}],"nextCursor":"c/1"})" : R"({"agents":[{"id":"b"}]})");
  }};
  talk_to(server);
  EXPECT_EQ(creel({"agents", "list", "--json"}), 0);
  EXPECT_EQ(nlohmann::json::parse(out_.str())["count"], 2);
  EXPECT_EQ(server.requests().at(1).find("GET /api/agents?cursor=c%2F1 HTTP"), 0u);
}

TEST_F(CliTest, UsesTheAdminKeyOfTheStateFolderOnThisMachineOnly) {
  environment_.erase("CREEL_API_KEY");
  std::ofstream{state_ + "/admin.key"} << "sk_admin\n";
  FakeServer server{[](const std::string&) { return http_answer(200, R"({"agents":[]})"); }};
  talk_to(server);
  EXPECT_EQ(creel({"agents", "list"}), 0);
  EXPECT_NE(server.requests().at(0).find("Bearer sk_admin\r\n"), std::string::npos);
  Config config;
  config.state_dir = state_;
  config.url = "http://creel.example.com:8080";
  EXPECT_FALSE(ApiClient{config}.has_key());
  config.url = "http://127.0.0.1.example.com:8080";
  EXPECT_FALSE(ApiClient{config}.has_key());
  config.url = "http://127.0.0.1@example.com";
  EXPECT_FALSE(ApiClient{config}.has_key());
  config.url = "http://localhost";
  EXPECT_TRUE(ApiClient{config}.has_key());
}

TEST_F(CliTest, SaysThatAListWithoutAKeyIsEmpty) {
  environment_.erase("CREEL_API_KEY");
  FakeServer server{[](const std::string&) { return http_answer(200, R"({"agents":[],"count":0,"status":"ok"})"); }};
  talk_to(server);
  EXPECT_EQ(creel({"agents", "list"}), 0);
  EXPECT_NE(err_.str().find("CREEL_API_KEY"), std::string::npos);
}

TEST_F(CliTest, RefusesBadAccountDataBeforeItTouchesTheDatabase) {
  EXPECT_EQ(creel({"user", "add", "--email", "nobody"}), 1);
  EXPECT_NE(err_.str().find("is not an e-mail address"), std::string::npos);
  EXPECT_EQ(creel({"user", "add", "--email", "a@b.c", "--plan", "gold"}), 1);
  EXPECT_NE(err_.str().find("there is no plan \"gold\""), std::string::npos);
  EXPECT_EQ(creel({"user", "add", "--email", "a@b.c", "--password-stdin"}, "short\n"), 1);
  EXPECT_NE(err_.str().find("8 to 1024"), std::string::npos);
  EXPECT_EQ(creel({"user", "set", "--email", "a@b.c"}), 1);
  EXPECT_NE(err_.str().find("nothing to change"), std::string::npos);
  EXPECT_EQ(creel({"key", "create", "--email", "a@b.c", "--name", "k", "--expires", "soon"}), 1);
  EXPECT_NE(err_.str().find("--expires"), std::string::npos);
  EXPECT_FALSE(fs::exists(state_ + "/postgres"));
}

TEST_F(CliTest, DoctorNamesWhatIsMissingAndFails) {
  environment_["DOCKER_HOST"] = "unix://" + state_ + "/no.sock";
  FakeServer taken{[](const std::string&) { return http_answer(200, "not creel"); }};
  environment_["CREEL_LISTEN"] = taken.address();
  environment_["CREEL_GATEWAY_LISTEN"] = "127.0.0.1:0";
  EXPECT_EQ(creel({"doctor"}, "", 0), 1);
  const std::string printed = out_.str();
  EXPECT_NE(printed.find("ok    templates     openclaw, reference\n"), std::string::npos) << printed;
  EXPECT_NE(printed.find("FAIL  engine "), std::string::npos) << printed;
  EXPECT_NE(printed.find("set DOCKER_HOST"), std::string::npos) << printed;
  EXPECT_NE(printed.find("is taken by another program"), std::string::npos) << printed;
  EXPECT_NE(printed.find("ok    gateway port"), std::string::npos) << printed;
  EXPECT_EQ(creel({"doctor", "--json"}), 1);
  EXPECT_TRUE(nlohmann::json::parse(out_.str()).is_array());
  EXPECT_FALSE(fs::exists(state_ + "/master.key"));
}

TEST_F(CliTest, DoctorKnowsItsOwnServer) {
  FakeServer ours{[](const std::string&) { return http_answer(200, R"({"status":"ok"})", "X-Request-Id: r1\r\n"); }};
  // Where agents are reached there is no /healthz.
  FakeServer gateway{
      [](const std::string&) { return http_answer(404, R"({"requestId":"r2"})", "X-Request-Id: r2\r\n"); }};
  FakeServer another{[](const std::string&) { return http_answer(404, R"({"error":"no"})", "X-Request-Id: r3\r\n"); }};
  environment_["CREEL_LISTEN"] = ours.address();
  environment_["CREEL_GATEWAY_LISTEN"] = gateway.address();
  creel({"doctor"}, "", 0);
  EXPECT_NE(out_.str().find(ours.address() + " is served by creel"), std::string::npos) << out_.str();
  EXPECT_NE(out_.str().find(gateway.address() + " is served by creel"), std::string::npos) << out_.str();
  environment_["CREEL_GATEWAY_LISTEN"] = another.address();
  creel({"doctor"}, "", 0);
  EXPECT_NE(out_.str().find(another.address() + " is taken by another program"), std::string::npos) << out_.str();
}

TEST(Doctor, JudgesTheEnginesVersion) {
  EXPECT_TRUE(judge_engine(200, R"({"Version":"20.10.24","ApiVersion":"1.41"})").ok);
  EXPECT_TRUE(judge_engine(200, R"({"Version":"x","ApiVersion":"2.0"})").ok);
  EXPECT_FALSE(judge_engine(200, R"({"Version":"19.03","ApiVersion":"1.40"})").ok);
  EXPECT_FALSE(judge_engine(200, "<html>").ok);
  EXPECT_FALSE(judge_engine(200, "[]").ok);
  EXPECT_FALSE(judge_engine(500, R"({"ApiVersion":"1.41"})").ok);
}

TEST(Doctor, ToleratesTwoSecondsAndTheTimeAskingTook) {
  EXPECT_TRUE(judge_clock(1'000'000, 1'001'900, 0).ok);
  EXPECT_FALSE(judge_clock(1'000'000, 1'002'100, 0).ok);
  EXPECT_FALSE(judge_clock(1'002'100, 1'000'000, 0).ok);
  EXPECT_TRUE(judge_clock(1'002'100, 1'000'000, 200).ok);
}

TEST(EventReader, GivesTheDataOfEachEventHoweverItIsCut) {
  const std::string stream =
      ": comment\r\n\r\ndata: one\r\n\r\nid: 3\ndata: two\ndata:three\n\nevent: end\ndata: {}\n\n\n\nevent: lost\n\n"
      "data: open";
  for (std::size_t size = 1; size <= stream.size(); ++size) {
    EventReader reader;
    std::vector<std::string> events;
    for (std::size_t at = 0; at < stream.size(); at += size) {
      ASSERT_TRUE(reader.feed(std::string_view{stream}.substr(at, size), [&](const ServerEvent& event) {
        events.push_back(event.name + "=" + event.data + (event.id.empty() ? "" : " #" + event.id));
        return true;
      }));
    }
    EXPECT_EQ(events, (std::vector<std::string>{"message=one", "message=two\nthree #3", "end={} #3"})) << size;
  }
  EventReader reader;
  EXPECT_FALSE(reader.feed("data: x\n\ndata: y\n\n", [](const ServerEvent&) { return false; }));
}

}  // namespace
}  // namespace creel::cli
