// What is printed: tables that fit the terminal, and pairs of name and value. Pure.
//
// Widths are in columns, counted as UTF-8 code points. What comes from elsewhere (names, log lines) is made harmless
// for a terminal: control characters become "?".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace creel::cli {

// Control characters (escape sequences above all) replaced, invalid UTF-8 too. Tabs become blanks.
std::string printable(std::string_view text);

// Columns are as wide as they must be. When the whole is wider than `width` (0 = no limit), the widest column is
// shortened with "…", again and again, but none below 8.
std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows,
                  std::size_t width);

// "name   value" lines; values that are empty are left out.
std::string pairs(const std::vector<std::pair<std::string, std::string>>& values);

}  // namespace creel::cli
