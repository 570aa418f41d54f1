// The tree of commands and their options: what the parser fills in, and which function each command is. Beside cli.cpp
// and completion.cpp the includer of CLI11. Threads: one.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controller/cli/account_commands.hpp"
#include "controller/cli/agent_commands.hpp"
#include "controller/cli/cli.hpp"
#include "controller/config/config.hpp"
#include "controller/core/result.hpp"

namespace creel::cli {

// One command line: what the options were parsed into, and which command is to be run.
struct Line {
  std::map<std::string, std::string> flags;  // by variable
  std::string config_file;
  bool json = false;
  std::string color = "auto";
  std::function<Result<int>(const config::Loaded&)> command;  // set by the chosen subcommand
  std::string refusal;  // what the API answered to it when it refused; "": did not

  // Values of the commands' own options; each command uses its own few.
  std::string id, message, level, topic, email, name, expires, plan, subscription, key, from, range, image, shell;
  std::vector<std::string> entries;
  int limit = 50;
  int wait = -1;
  bool watch = false, follow = false, purge = false, password = false, history = false;
  bool admin = false, no_admin = false, remove = false;
  std::string after;
  ProvisionOptions provision;
  const config::Environment* environment = nullptr;

  std::optional<int> wait_seconds() const { return wait < 0 ? std::nullopt : std::optional<int>{wait}; }
  UserOptions user_options() const;
};

// Adds all commands to `app`. The arguments and what is returned must outlive it.
std::shared_ptr<void> declare_commands(CLI::App& app, Line& line, Io& io, const Serve& serve);

}  // namespace creel::cli
