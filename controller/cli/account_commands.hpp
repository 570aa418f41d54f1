// Commands that talk to PostgreSQL themselves: migrate, user, key. Threads: one.
#pragma once

#include <optional>
#include <string>

#include "controller/cli/cli.hpp"
#include "controller/config/config.hpp"
#include "controller/core/result.hpp"

namespace creel::cli {

struct UserOptions {
  std::string email;
  bool password_from_stdin = false;  // the first line
  std::optional<bool> admin;
  std::string plan;          // "" = unchanged; a new user: free
  std::string subscription;  // "" = unchanged; a new user: inactive
};

Result<void> migrate_database(const Config& config, Io& io, bool json);
// Prints the new user's id, alone.
Result<void> add_user(const Config& config, Io& io, const UserOptions& options, bool json);
// A new password ends the user's sessions.
Result<void> set_user(const Config& config, Io& io, const UserOptions& options, bool json);
Result<void> list_users(const Config& config, Io& io, bool json);
// Prints the key, alone: it is stored only as a digest and cannot be shown again. `expires`: "" = never, else a
// duration.
Result<void> create_key(const Config& config, Io& io, const std::string& email, const std::string& name,
                        const std::string& expires, bool json);

}  // namespace creel::cli
