#include "api/router.hpp"

#include <algorithm>

namespace creel::api {
namespace {

std::vector<std::string> split(std::string_view pattern) {
  std::vector<std::string> segments;
  pattern.remove_prefix(1);
  while (true) {
    const auto slash = pattern.find('/');
    segments.emplace_back(pattern.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    pattern.remove_prefix(slash + 1);
  }
}

bool is_parameter(const std::string& segment) { return segment.starts_with(':'); }

bool matches(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
  return std::equal(pattern.begin(), pattern.end(), path.begin(), path.end(),
                    [](const auto& p, const auto& s) { return is_parameter(p) ? !s.empty() : p == s; });
}

// Literals before parameters, from the front.
bool more_specific(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                      [](const auto& x, const auto& y) { return !is_parameter(x) && is_parameter(y); });
}

}  // namespace

Router::Router(const std::vector<Route>& routes) {
  for (const Route& route : routes) {
    auto found = std::find_if(patterns_.begin(), patterns_.end(),
                              [&](const Pattern& p) { return std::string_view{p.text} == route.pattern; });
    if (found == patterns_.end()) {
      patterns_.push_back(Pattern{route.pattern, split(route.pattern), {}});
      found = std::prev(patterns_.end());
    }
    found->routes.push_back(&route);
  }
}

Match Router::match(std::string_view method, const std::vector<std::string>& segments) const {
  Match result;
  const Pattern* best = nullptr;
  for (const Pattern& pattern : patterns_) {
    if (!matches(pattern.segments, segments)) continue;
    if (best == nullptr || more_specific(pattern.segments, best->segments)) best = &pattern;
  }
  if (best == nullptr) return result;
  result.pattern = best->text;
  const std::string_view wanted = method == "HEAD" ? "GET" : method;
  for (const Route* route : best->routes) {
    result.allow.emplace_back(route->method);
    if (result.allow.back() == "GET") result.allow.emplace_back("HEAD");
    if (route->method == wanted) result.route = route;
  }
  result.allow.emplace_back("OPTIONS");
  std::sort(result.allow.begin(), result.allow.end());
  for (std::size_t i = 0; i < segments.size(); ++i)
    if (is_parameter(best->segments[i])) result.params.emplace(best->segments[i].substr(1), segments[i]);
  return result;
}

}  // namespace creel::api
