// The commands that call the API: one function a command, each prints and returns. Output is for people, or with `json`
// the API's own answer. Threads: one at a time.
#pragma once

#include <optional>
#include <string>

#include "controller/cli/api_client.hpp"
#include "controller/cli/cli.hpp"
#include "controller/core/result.hpp"

namespace creel::cli {

struct Client {
  ApiClient& api;
  Io& io;
  bool json = false;
};

struct ProvisionOptions {
  std::string name, model, tier, template_name, config, idempotency_key;
  std::optional<int> wait_seconds;
};
// `config` is a path of a JSON file, "-" for standard input.
Result<void> provision(Client client, const ProvisionOptions& options);
Result<void> list_agents(Client client);
Result<void> show_agent(Client client, const std::string& id);
// start, stop, restart, repair.
Result<void> lifecycle(Client client, const std::string& id, const std::string& verb, std::optional<int> wait_seconds);
Result<void> show_logs(Client client, const std::string& id, int limit, const std::string& level, bool follow);
Result<void> show_stats(Client client, const std::string& id);
Result<void> show_plan(Client client, const std::string& id);
Result<void> delete_agent(Client client, const std::string& id, bool purge);
Result<void> chat(Client client, const std::string& id, const std::string& message, const std::string& topic);

}  // namespace creel::cli
