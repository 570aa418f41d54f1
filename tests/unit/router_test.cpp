#include "api/router.hpp"

#include <gmock/gmock.h>

#include "api/routes.hpp"
#include "api/target.hpp"

namespace creel::api {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Match find(std::string_view method, std::string_view target) {
  static const Router router{routes()};
  return router.match(method, parse_target(target)->segments);
}

std::string pattern_of(std::string_view method, std::string_view target) {
  const Match match = find(method, target);
  return match.route != nullptr ? match.route->pattern : "";
}

TEST(Router, FindsEveryRouteOfTheTable) {
  for (const Route& route : routes()) {
    std::string path = route.pattern;
    for (const char* parameter : {":id", ":userId"})
      if (const auto at = path.find(parameter); at != std::string::npos)
        path.replace(at, std::string_view{parameter}.size(), "0123456789abcdef");
    EXPECT_EQ(find(route.method, path).route, &route) << route.method << " " << path;
  }
}

TEST(Router, GivesParametersByName) {
  EXPECT_EQ(find("GET", "/api/agents/abc%20d/logs").params.at("id"), "abc d");
  EXPECT_EQ(find("POST", "/api/instance/user_1/start").params.at("userId"), "user_1");
}

TEST(Router, PrefersLiteralsToParameters) {
  EXPECT_EQ(pattern_of("GET", "/api/agents/provision"), "/api/agents/provision");
  EXPECT_EQ(pattern_of("GET", "/api/agents/provisional"), "/api/agents/:id");
}

TEST(Router, DoesNotDeleteAnAgentCalledProvision) {
  const Match match = find("DELETE", "/api/agents/provision");
  EXPECT_EQ(match.route, nullptr);
  EXPECT_THAT(match.allow, ElementsAre("GET", "HEAD", "OPTIONS", "POST"));
}

TEST(Router, TakesHeadForGet) {
  EXPECT_EQ(pattern_of("HEAD", "/healthz"), "/healthz");
  EXPECT_EQ(find("HEAD", "/api/provision").route, nullptr);
}

TEST(Router, KnowsWhatIsAllowedElsewhere) {
  EXPECT_THAT(find("POST", "/healthz").allow, ElementsAre("GET", "HEAD", "OPTIONS"));
  EXPECT_THAT(find("get", "/healthz").allow, ElementsAre("GET", "HEAD", "OPTIONS"));
  EXPECT_EQ(find("get", "/healthz").route, nullptr);
}

TEST(Router, KnowsNothingOfOtherPaths) {
  for (const char* path : {"/", "/api", "/api/agents/", "/api/agents//logs", "/api/agents/a/b/c", "/API/agents",
                           "/healthz/", "/api/instance"})
    EXPECT_THAT(find("GET", path).allow, IsEmpty()) << path;
}

TEST(RouteTable, LetsOnlyTheDocumentedRoutesGoWithoutCredentials) {
  std::vector<std::string> without;
  for (const Route& route : routes())
    if (route.who == Who::open || route.who == Who::anonymous)
      without.push_back(std::string{route.method} + " " + route.pattern);
  EXPECT_THAT(
      without,
      ElementsAre("POST /api/auth/login", "GET /api/auth/session", "POST /api/auth/signup", "POST /api/billing/webhook",
                  "GET /api/agents", "GET /api/channels/whatsapp/:agentId/webhook",
                  "POST /api/channels/whatsapp/:agentId/webhook", "GET /integrations/caddy/ask",
                  "GET /integrations/traefik", "GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.json"));
}

TEST(RouteTable, LimitsEverythingUnderApiAndOnlyThat) {
  for (const Route& route : routes()) {
    const std::string pattern = route.pattern;
    const RateClass expected = pattern.starts_with("/api/instance/")                            ? RateClass::instance
                               : pattern == "/api/provision"                                    ? RateClass::provision
                               : pattern == "/api/chat"                                         ? RateClass::chat
                               : pattern == "/api/agent" && std::string{route.method} == "POST" ? RateClass::chat
                               : pattern.starts_with("/api/")                                   ? RateClass::api
                                                                                                : RateClass::none;
    EXPECT_EQ(route.rate, expected) << pattern;
    EXPECT_EQ(route.lifecycle, pattern.starts_with("/api/instance/")) << pattern;
    EXPECT_EQ(route.body_limit, 1024u * 1024u) << pattern;
  }
}

}  // namespace
}  // namespace creel::api
