// The commands that call the API: one function a command, each prints and returns. Output is for people, or with `json`
// the API's own answer. Threads: one at a time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controller/cli/client.hpp"
#include "controller/config/config.hpp"
#include "controller/core/result.hpp"

namespace creel::cli {

// Secrets do not stand on the command line, where every user of the machine can read them: a source says where each is.
// It is a file, "-" for standard input (its first line), or "env:NAME" for a variable of the environment.
struct ProvisionOptions {
  std::string name, model, tier, template_name, config, idempotency_key;
  std::optional<int> wait_seconds;
  // With any of these the agent is made by POST /api/provision. By field of the body.
  std::map<std::string, std::string> channels;  // ids and words, as they are
  std::map<std::string, std::string> sources;   // tokens and keys
};
// `config` is a path of a JSON file, "-" for standard input.
Result<void> provision(Client client, const ProvisionOptions& options, const config::Environment& environment);
// `source` "" removes the credential.
Result<void> set_credential(Client client, const std::string& id, const std::string& key, const std::string& source,
                            const config::Environment& environment);
// Shows where it may go; with `entries` sets it first: "open", "none", or names and presets.
Result<void> egress(Client client, const std::string& id, const std::vector<std::string>& entries);
// An address that opens the agent's own pages, for a minute.
Result<void> open_agent(Client client, const std::string& id);
// Prints the new token, alone.
Result<void> rotate_token(Client client, const std::string& id);
// `watching`: goes on with what changes, until Ctrl-C.
Result<void> list_agents(Client client, bool watching);
Result<void> show_agent(Client client, const std::string& id, bool watching);
Result<void> show_stats(Client client, const std::string& id, bool watching);
Result<void> show_plan(Client client, const std::string& id, bool watching);
// What it used over `range` ("1h", "24h", "7d", "30d"): the slots that were measured.
Result<void> show_stats_history(Client client, const std::string& id, const std::string& range);
// start, stop, restart, repair, reset-memory. Shows on standard error what is being waited for.
Result<void> lifecycle(Client client, const std::string& id, const std::string& verb, std::optional<int> wait_seconds);
// Shows the steps as they are taken, on standard error. `image` "": the template's.
Result<void> update_agent(Client client, const std::string& id, const std::string& image,
                          std::optional<int> wait_seconds);
Result<void> show_logs(Client client, const std::string& id, int limit, const std::string& level, bool follow);
struct EventOptions {
  int limit = 50;     // the newest
  std::string after;  // only those after the one with this id
  bool follow = false;
};
// `id` "": of all agents that the caller may see.
Result<void> show_events(Client client, const std::string& id, const EventOptions& options);
// For administrators.
Result<void> list_orphans(Client client);
Result<void> delete_agent(Client client, const std::string& id, bool purge);
Result<void> chat(Client client, const std::string& id, const std::string& message, const std::string& topic);
Result<void> show_messages(Client client, const std::string& id, int limit);
Result<void> show_sessions(Client client, const std::string& id);

}  // namespace creel::cli
