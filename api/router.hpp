// Router: finds the row of the route table for a method and path. Pure.
//
// A pattern is "/api/agents/:id/config": segments are literal or, with a colon, a parameter that matches any one
// segment that is not empty. Of several patterns that match a path the one with the literal nearest to the front
// counts, and only that one: DELETE /api/agents/provision is 405, not the deletion of an agent called "provision".
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/auth/rate_limit.hpp"
#include "api/http.hpp"

namespace creel::api {

enum class Who {
  open,       // credentials are not even looked at
  anonymous,  // a caller if there is one
  user,       // 401 without a caller
  admin,      // 403 for everybody else
};

inline constexpr std::size_t kBodyLimit = 1024 * 1024;

struct Route {
  const char* method;
  const char* pattern;
  Who who;
  RateClass rate;
  // The document's sentence for a 500 on this route.
  const char* failure;
  Handler handler;
  // Errors carry "success": false, "status": "error" too (the document's lifecycle shape).
  bool lifecycle = false;
  std::size_t body_limit = kBodyLimit;
  // Reads memory alone, for machines that must get their answer while all handler threads wait for PostgreSQL.
  bool at_once = false;
};

struct Match {
  const Route* route = nullptr;  // nullptr: unknown path, or not with this method
  std::map<std::string, std::string> params;
  std::vector<std::string> allow;  // methods of a known path, sorted, with HEAD and OPTIONS; empty: unknown path
  const char* pattern = nullptr;
};

class Router {
 public:
  explicit Router(const std::vector<Route>& routes);
  // HEAD finds the GET route.
  Match match(std::string_view method, const std::vector<std::string>& segments) const;

 private:
  struct Pattern {
    const char* text;
    std::vector<std::string> segments;
    std::vector<const Route*> routes;
  };
  std::vector<Pattern> patterns_;
};

}  // namespace creel::api
