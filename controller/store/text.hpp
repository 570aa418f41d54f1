// Text that PostgreSQL accepts: UTF-8 without zero bytes. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace creel::store {

bool valid_text(std::string_view text);
// Bytes that are not UTF-8, and zero bytes, become U+FFFD: for what other programs said (log lines, messages).
std::string repair_text(std::string_view text);
// For a jsonb column; repairs texts inside.
std::string to_column(const nlohmann::json& json);

}  // namespace creel::store
