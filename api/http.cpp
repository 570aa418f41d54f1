#include "api/http.hpp"

#include <algorithm>

namespace creel::api {
namespace {

// std::tolower depends on the locale; header names are ASCII.
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view find_header(const Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers)
    if (same_ignoring_case(key, name)) return value;
  return {};
}

void set_header(Headers& headers, std::string_view name, std::string value) {
  std::erase_if(headers, [&](const auto& header) { return same_ignoring_case(header.first, name); });
  headers.emplace_back(std::string{name}, std::move(value));
}

std::string Request::query_value(const std::string& name) const {
  const auto found = query.find(name);
  return found == query.end() ? std::string{} : found->second;
}

const std::string& Request::param(const std::string& name) const {
  static const std::string none;
  const auto found = params.find(name);
  return found == params.end() ? none : found->second;
}

}  // namespace creel::api
