// Request targets: "/api/agents/ab%20c?limit=5" taken apart. Pure.
//
// Errors: invalid for a broken percent-escape, a zero byte, an empty or foreign form. Dots are not resolved: no route
// holds any, and no file is served by path.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/result.hpp"

namespace creel::api {

struct Target {
  std::string path;                          // as sent, without the query: "/api/agents/ab%20c"
  std::vector<std::string> segments;         // decoded: {"api", "agents", "ab c"}
  std::map<std::string, std::string> query;  // decoded; "+" is a blank; of a repeated name the first one
};

// Origin form ("/…"), absolute form ("http://host/…"), or "*" (then: no segments).
Result<Target> parse_target(std::string_view target);
Result<std::string> percent_decode(std::string_view text, bool plus_is_blank);

}  // namespace creel::api
