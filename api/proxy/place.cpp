#include "api/proxy/place.hpp"

#include "api/http.hpp"

namespace creel::api {

std::optional<Place> find_place(std::string_view host, std::string_view target, std::string_view domain, bool by_path) {
  if (!target.starts_with('/')) return std::nullopt;  // absolute form and "*" are for Creel itself
  const std::string_view name = host.substr(0, host.find(':'));
  const auto dot = name.find('.');
  if (dot != std::string_view::npos && same_ignoring_case(name.substr(dot + 1), domain))
    if (auto agent = AgentId::parse(name.substr(0, dot))) return Place{std::move(*agent), {}, std::string{target}};
  constexpr std::string_view kPath = "/agent/";
  if (!by_path || !target.starts_with(kPath)) return std::nullopt;
  const std::string_view rest = target.substr(kPath.size());
  const std::string_view id = rest.substr(0, rest.find_first_of("/?"));
  auto agent = AgentId::parse(id);
  if (!agent) return std::nullopt;
  std::string path{rest.substr(id.size())};
  if (!path.starts_with('/')) path.insert(0, "/");
  return Place{std::move(*agent), std::string{kPath} + std::string{id}, std::move(path)};
}

Stripped without_query(std::string_view target, std::string_view name) {
  Stripped result;
  const auto question = target.find('?');
  result.target = std::string{target.substr(0, question)};
  if (question == std::string_view::npos) return result;
  std::string_view rest = target.substr(question + 1);
  char mark = '?';
  while (true) {
    const auto ampersand = rest.find('&');
    const std::string_view pair = rest.substr(0, ampersand);
    const auto equals = pair.find('=');
    if (pair.substr(0, equals) == name) {
      if (result.value.empty() && equals != std::string_view::npos) result.value = std::string{pair.substr(equals + 1)};
    } else {
      result.target += mark + std::string{pair};
      mark = '&';
    }
    if (ampersand == std::string_view::npos) return result;
    rest.remove_prefix(ampersand + 1);
  }
}

}  // namespace creel::api
