// What the commands that call the API share: who they are called with, how agents are found, and what answers look
// like. Threads: one at a time.
#pragma once

#include <chrono>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "controller/cli/api_client.hpp"
#include "controller/cli/cli.hpp"
#include "controller/config/config.hpp"
#include "controller/core/result.hpp"

namespace creel::cli {

struct Client {
  const Config& config;
  ApiClient& api;
  Io& io;
  bool json = false;
  std::stop_token stop{};  // Ctrl-C, for commands that last
};

// The API's own longest waits (provision 60 s, lifecycle 180 s, chat 600 s) and then some.
inline constexpr std::chrono::milliseconds kReadDeadline{30'000};
inline constexpr std::chrono::milliseconds kLifecycleDeadline{210'000};
inline constexpr std::chrono::milliseconds kChatDeadline{630'000};

// A member as text: strings bare, null and absent as "".
std::string shown(const nlohmann::json& json, const char* name);
// A member, or null.
const nlohmann::json& member(const nlohmann::json& json, const char* name);
void print_json(Io& io, const nlohmann::json& json);
// On one line.
std::string dumped(const nlohmann::json& json);

std::string agent_path(const std::string& id);
std::string query(std::initializer_list<std::pair<const char*, std::string>> parameters);

// All agents the caller may see, as the API lists them.
Result<nlohmann::json> fetch_agents(ApiClient& api, std::chrono::milliseconds deadline);
// `text` is an agent's id, or the name that one agent alone has; anything else is returned as it is, for the API to
// judge.
Result<std::string> find_agent(Client client, const std::string& text);
// `error` is what the API said of the agent `text`: if there is no such agent, the same with the one that was most
// likely meant.
Error about_agent(Client client, const std::string& text, Error error);

}  // namespace creel::cli
