// Which agent an address means: "<id>.<AGENTS_DOMAIN>" by its name, or "/agent/<id>/…" at the gateway listener. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "controller/core/ids.hpp"

namespace creel::api {

struct Place {
  AgentId agent;
  std::string prefix;  // "/agent/<id>", "" for a name of its own
  std::string target;  // what the agent is asked for: "/", "/v1/models?limit=5"
};

// `host`: the Host header. `by_path`: the gateway listener, where addresses may begin with /agent/<id>. nullopt: not an
// agent's address.
std::optional<Place> find_place(std::string_view host, std::string_view target, std::string_view domain, bool by_path);

// The target without the parameter of that name, and its value as it was sent ("" when it had none).
struct Stripped {
  std::string target;
  std::string value;
};
Stripped without_query(std::string_view target, std::string_view name);

}  // namespace creel::api
