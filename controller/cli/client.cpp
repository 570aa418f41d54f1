#include "controller/cli/client.hpp"

#include <iostream>
#include <nlohmann/json.hpp>

#include "controller/cli/advice.hpp"
#include "controller/core/ids.hpp"

namespace creel::cli {
namespace {

using Json = nlohmann::json;

// Of a look for the sake of a better error: nobody waits for that.
constexpr std::chrono::milliseconds kAdviceDeadline{3'000};

}  // namespace

std::string shown(const Json& json, const char* name) {
  if (!json.is_object()) return {};
  const auto found = json.find(name);
  if (found == json.end() || found->is_null()) return {};
  return found->is_string() ? found->get<std::string>() : dumped(*found);
}

const Json& member(const Json& json, const char* name) {
  static const Json none;
  if (!json.is_object()) return none;
  const auto found = json.find(name);
  return found == json.end() ? none : *found;
}

void print_json(Io& io, const Json& json) {
  io.out << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string agent_path(const std::string& id) { return "/api/agents/" + http::url_encode(id); }

std::string query(std::initializer_list<std::pair<const char*, std::string>> parameters) {
  std::string text;
  for (const auto& [name, value] : parameters) {
    if (!value.empty()) text += (text.empty() ? "?" : "&") + std::string{name} + "=" + http::url_encode(value);
  }
  return text;
}

Result<Json> fetch_agents(ApiClient& api, std::chrono::milliseconds deadline) {
  Json agents = Json::array();
  std::string cursor;
  do {
    CREEL_TRY(const Json page, api.call("GET", "/api/agents" + query({{"cursor", cursor}}), nullptr, deadline));
    for (const auto& agent : member(page, "agents")) agents.push_back(agent);
    cursor = shown(page, "nextCursor");
  } while (!cursor.empty());
  return Result<Json>{boost::system::in_place_value, std::move(agents)};
}

Result<std::string> find_agent(Client client, const std::string& text) {
  if (AgentId::parse(text)) return text;
  CREEL_TRY(const Json agents, fetch_agents(client.api, kReadDeadline));
  std::vector<std::string> found;
  for (const auto& agent : agents)
    if (shown(agent, "name") == text) found.push_back(shown(agent, "id"));
  if (found.empty()) return text;
  if (found.size() == 1) return found[0];
  std::string ids;
  for (const auto& id : found) ids += (ids.empty() ? "" : ", ") + id;
  return Error{ErrorKind::conflict, "several agents are called " + text + "; give the id of one: " + ids, {}, {}};
}

Error about_agent(Client client, const std::string& text, Error error) {
  // /api/instance does not say whether there is no such agent or it is somebody else's.
  if (error.kind != ErrorKind::forbidden && error.code != "AGENT_NOT_FOUND") return error;
  ApiClient api{client.config, client.stop};
  const auto agents = fetch_agents(api, kAdviceDeadline);
  if (!agents) return error;
  std::vector<std::string> known;
  for (const auto& agent : *agents) {
    for (const char* name : {"id", "name"}) {
      if (shown(agent, name) == text) return error;  // it is something else
      known.push_back(shown(agent, name));
    }
  }
  const std::string meant = nearest(text, known);
  error.message = "there is no agent \"" + text + "\"; ";
  if (!meant.empty())
    error.message += "did you mean \"" + meant + "\"? `creel agents list` shows what there is";
  else if (known.empty())
    error.message += "you have none yet: `creel provision --name NAME` makes one";
  else
    error.message += "`creel agents list` shows what there is";
  return error;
}

}  // namespace creel::cli
