#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "api/dispatcher.hpp"
#include "api/error.hpp"
#include "api/log_level.hpp"
#include "api/units.hpp"
#include "api/view.hpp"
#include "tests/support/support.hpp"

namespace creel::api {
namespace {

using nlohmann::json;

TEST(ApiUnits, WritesMemoryAsDockerDoes) {
  EXPECT_EQ(format_iec(0), "0B");
  EXPECT_EQ(format_iec(-5), "0B");
  EXPECT_EQ(format_iec(1023), "1023B");
  EXPECT_EQ(format_iec(1024), "1KiB");
  EXPECT_EQ(format_iec(134'217'728), "128MiB");
  EXPECT_EQ(format_iec(2'147'483'648), "2GiB");
  EXPECT_EQ(format_iec(357'564'416), "341MiB");
  EXPECT_EQ(format_iec(1'610'612'736), "1.5GiB");
  EXPECT_EQ(format_iec(5'767'168), "5.5MiB");
  EXPECT_EQ(format_iec(1'234'567), "1.177MiB");
}

TEST(ApiUnits, WritesNetworkAsDockerDoes) {
  EXPECT_EQ(format_si(0), "0B");
  EXPECT_EQ(format_si(999), "999B");
  EXPECT_EQ(format_si(1'000), "1kB");
  EXPECT_EQ(format_si(1'234), "1.23kB");
  EXPECT_EQ(format_si(3'400), "3.4kB");
  EXPECT_EQ(format_si(648'000), "648kB");
  EXPECT_EQ(format_si(999'600), "1MB");
  EXPECT_EQ(format_si(12'345'678'901), "12.3GB");
}

TEST(ApiUnits, WritesPercentWithTwoDecimals) {
  EXPECT_EQ(format_percent(0.1499), "0.15%");
  EXPECT_EQ(format_percent(0), "0.00%");
  EXPECT_EQ(format_percent(187.5), "187.50%");
  EXPECT_EQ(format_percent(-1), "0.00%");
  EXPECT_EQ(format_percent(std::numeric_limits<double>::quiet_NaN()), "0.00%");
}

TEST(LogLevel, IsTakenFromJson) {
  EXPECT_EQ(level_of(R"({"level":"error","msg":"x"})", false), "error");
  EXPECT_EQ(level_of(R"({"level":"WARNING"})", false), "warn");
  EXPECT_EQ(level_of(R"({"level":30})", true), "info");
  EXPECT_EQ(level_of(R"({"level":60})", false), "error");
  EXPECT_EQ(level_of(R"({"level":10})", false), "debug");
  EXPECT_EQ(level_of(R"({"severity":"notice"})", true), "info");
  EXPECT_EQ(level_of(R"({"msg":"no level"})", false), "info");
  EXPECT_EQ(level_of(R"({"level":"error")", true), "warn");  // not JSON
}

TEST(LogLevel, IsTakenFromALeadingWord) {
  EXPECT_EQ(level_of("ERROR: it broke", false), "error");
  EXPECT_EQ(level_of("[warn] careful", false), "warn");
  EXPECT_EQ(level_of("[2026-03-19T00:00:00.123Z] [INFO] hello", true), "info");
  EXPECT_EQ(level_of("2026-03-19 10:11:12,345 DEBUG hello", false), "debug");
  EXPECT_EQ(level_of("10:11:12 fatal: no", false), "error");
  EXPECT_EQ(level_of("  Info  hello", true), "info");
  EXPECT_EQ(level_of("ERR no", false), "error");
}

TEST(LogLevel, IsNotTakenFromOrdinaryWords) {
  EXPECT_EQ(level_of("an error happened", false), "info");
  EXPECT_EQ(level_of("information desk", false), "info");
  EXPECT_EQ(level_of("log in at the door", true), "warn");
  EXPECT_EQ(level_of("err on the safe side", false), "info");
  EXPECT_EQ(level_of("", true), "warn");
  EXPECT_EQ(level_of("12345", false), "info");
}

TEST(LogLevel, KnowsTheWordsOfTheQuery) {
  EXPECT_EQ(parse_level("Warning"), "warn");
  EXPECT_EQ(parse_level("error"), "error");
  EXPECT_EQ(parse_level("loud"), std::nullopt);
  EXPECT_EQ(parse_level(""), std::nullopt);
}

store::AgentRow example_row() {
  const auto at = [](const char* text) { return *parse_rfc3339(text); };
  store::AgentRow row;
  row.id = *AgentId::parse("a1b2c3d4e5f60718");
  row.owner = *UserId::parse("user_0123456789abcdef");
  row.name = "My Agent";
  row.template_name = "openclaw";
  row.model = "claude-opus-4-6";
  row.tier = "starter";
  row.version = "2026.3.13";
  row.generation = 3;
  row.created_at = at("2026-03-01T00:00:00Z");
  row.updated_at = at("2026-03-18T00:00:00Z");
  row.status.phase = Phase::ready;
  row.status.observed_generation = 3;
  row.status.started_at = at("2026-03-18T00:00:05Z");
  row.status.observed_at = at("2026-03-18T00:00:10Z");
  row.status.address = "172.18.0.5:18789";
  row.status.conditions = {{"Ready", "True", "GatewayReady", "", at("2026-03-18T00:00:10Z")}};
  return row;
}

TEST(View, ShowsAListItem) {
  EXPECT_EQ(test::golden("api/list_item.json", list_item(example_row(), {}).dump(2)),
            list_item(example_row(), {}).dump(2));
}

TEST(View, ShowsAnAgent) {
  EXPECT_EQ(test::golden("api/agent.json", agent_detail(example_row(), {}, {}).dump(2)),
            agent_detail(example_row(), {}, {}).dump(2));
}

TEST(View, ShowsWhatWasVerifiedOfAnAgent) {
  EXPECT_EQ(agent_detail(example_row(), {}, {})["verified"], false);
  const store::Verification found{
      example_row().id, "eas", "0x12", "0x34", *parse_rfc3339("2026-03-19T00:00:00Z"), "{}"};
  const auto shown = agent_detail(example_row(), found, {});
  EXPECT_EQ(shown["verified"], true);
  EXPECT_EQ(shown["verificationType"], "eas");
  EXPECT_EQ(shown["attestationUid"], "0x12");
  EXPECT_EQ(shown["verifiedAt"], "2026-03-19T00:00:00Z");
}

TEST(View, ShowsAnInstance) {
  EXPECT_EQ(test::golden("api/instance.json", instance_detail(example_row(), {}).dump(2)),
            instance_detail(example_row(), {}).dump(2));
}

TEST(View, SaysActiveOnlyInTheAgentItself) {
  auto row = example_row();
  EXPECT_EQ(list_item(row, {})["status"], "running");
  EXPECT_EQ(agent_detail(row, {}, {})["status"], "active");
  EXPECT_EQ(instance_detail(row, {})["status"], "running");
  row.status.phase = Phase::stopped;
  EXPECT_EQ(agent_detail(row, {}, {})["status"], "stopped");
  row.status.phase = Phase::crash_looping;
  EXPECT_EQ(agent_detail(row, {}, {})["status"], "error");
  row.status.phase = Phase::pending;
  EXPECT_EQ(agent_detail(row, {}, {})["status"], "provisioning");
}

TEST(View, NeverShowsWhereTheGatewayIs) {
  for (const auto& shown :
       {list_item(example_row(), {}), agent_detail(example_row(), {}, {}), instance_detail(example_row(), {})})
    EXPECT_EQ(shown.dump().find("172.18.0.5"), std::string::npos);
}

TEST(View, WritesThePortOfTheUrlOnlyWhenItIsSet) {
  Settings settings;
  const auto id = example_row().id;
  EXPECT_EQ(url_of(settings, id), "https://a1b2c3d4e5f60718.agents.localhost");
  settings.agents_url_scheme = "http";
  settings.agents_url_port = 10000;
  EXPECT_EQ(url_of(settings, id), "http://a1b2c3d4e5f60718.agents.localhost:10000");
}

TEST(View, TakesAdministratorsFromTheRowAndFromTheList) {
  store::User user;
  user.email = "Ann@Example.com";
  Settings settings;
  EXPECT_FALSE(is_admin(user, settings));
  settings.admin_emails = {"ann@example.com"};
  EXPECT_TRUE(is_admin(user, settings));
  user.email = "bob@example.com";
  EXPECT_FALSE(is_admin(user, settings));
  user.admin = true;
  EXPECT_TRUE(is_admin(user, settings));
}

Request asked() {
  Request request;
  request.request_id = "req_1";
  return request;
}

TEST(ApiError, HasSentenceCodeAndRequestId) {
  const Response response = error_answer(asked(), 402, "PAYMENT_REQUIRED", "Pay first", json{{"extra", 1}});
  EXPECT_EQ(response.status, 402);
  EXPECT_EQ(json::parse(response.body),
            (json{{"error", "Pay first"}, {"code", "PAYMENT_REQUIRED"}, {"requestId", "req_1"}, {"extra", 1}}));
}

TEST(ApiError, MapsEveryKind) {
  const auto status = [](ErrorKind kind) { return error_answer(asked(), Error{kind, "m", {}, {}}).status; };
  EXPECT_EQ(status(ErrorKind::invalid), 400);
  EXPECT_EQ(status(ErrorKind::unauthorized), 401);
  EXPECT_EQ(status(ErrorKind::forbidden), 403);
  EXPECT_EQ(status(ErrorKind::not_found), 404);
  EXPECT_EQ(status(ErrorKind::conflict), 409);
  EXPECT_EQ(status(ErrorKind::limit), 429);
  for (const auto kind : {ErrorKind::timeout, ErrorKind::unavailable, ErrorKind::cancelled})
    EXPECT_EQ(status(kind), 503);
  for (const auto kind : {ErrorKind::failed, ErrorKind::corrupt, ErrorKind::internal}) EXPECT_EQ(status(kind), 500);
}

TEST(ApiError, TellsAClientNothingOfWhatBrokeInside) {
  const Error error{ErrorKind::internal, "column \"sealed\" of relation agents", {}, {}};
  const Response response = error_answer(asked(), error, "Failed to fetch agent");
  EXPECT_EQ(json::parse(response.body)["error"], "Failed to fetch agent");
  EXPECT_EQ(response.body.find("relation"), std::string::npos);
}

TEST(ApiError, NamesTheFieldAndAsksToComeBack) {
  EXPECT_EQ(json::parse(error_answer(asked(), invalid("name", "bad")).body)["field"], "name");
  const Response away = error_answer(asked(), Error{ErrorKind::unavailable, "connection refused", {}, {}});
  EXPECT_EQ(find_header(away.headers, "retry-after"), "2");
  EXPECT_EQ(json::parse(away.body)["code"], "STORE_UNAVAILABLE");
}

TEST(ApiMetrics, CountRequestsByRouteAndKnownMethod) {
  Metrics metrics;
  count_request(metrics, "GET", "/api/agents/:id", 200, std::chrono::microseconds{1500});
  count_request(metrics, "BREW", "(none)", 404, std::chrono::microseconds{1500});
  const std::string text = metrics.text();
  const auto has = [&](const char* line) { return text.find(line) != std::string::npos; };
  EXPECT_TRUE(has("creel_http_requests_total{code=\"200\",method=\"GET\",route=\"/api/agents/:id\"} 1")) << text;
  EXPECT_TRUE(has("creel_http_requests_total{code=\"404\",method=\"other\",route=\"(none)\"} 1")) << text;
  EXPECT_TRUE(has("creel_http_request_duration_seconds_count{method=\"GET\",route=\"/api/agents/:id\"} 1")) << text;
}

}  // namespace
}  // namespace creel::api
