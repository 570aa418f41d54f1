// What the embedded cluster is set up with: the account, PostgreSQL's programs, and how its complaints are read. Used
// by embedded_postgres.cpp only. Errors: invalid or failed, with reason and remedy. Threads: any.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "controller/core/result.hpp"
#include "controller/embedded_postgres_process.hpp"

namespace creel::embedded {

// The file from byte `from` on; "" when it cannot be read.
std::string read_text(const std::filesystem::path& path, std::uintmax_t from = 0);
std::optional<int> leading_number(std::string_view text);

// The last complaint in a log of PostgreSQL, without time and process id; "" = none.
std::string last_complaint(const std::string& log);
// What to do about it.
std::string remedy(const std::string& complaint, const std::filesystem::path& base, const std::filesystem::path& log);

// Who PostgreSQL runs as. `base`: the cluster's folder, whose owner comes first. `wanted`: CREEL_POSTGRES_USER or "".
Result<Account> choose_account(const std::filesystem::path& base, const std::string& wanted);
// The folder of postgres and initdb. `major`: of the existing cluster in `data`, 0 = there is none yet.
Result<std::filesystem::path> choose_programs(const std::string& wanted, int major, const std::filesystem::path& data);

}  // namespace creel::embedded
