// What is printed: text that cannot harm a terminal, tables that fit it, pairs of name and value. Pure.
//
// Widths are in columns of a terminal: a letter of Chinese and most emoji have two, combining marks none. What comes
// from elsewhere (names, log lines) is made harmless: control characters become "?".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "controller/cli/terminal.hpp"

namespace creel::cli {

// Control characters (escape sequences above all) replaced, invalid UTF-8 too. Tabs become blanks.
std::string printable(std::string_view text);
// The same of text whose line breaks are its own: each line with `indent` before it and a break after it.
std::string printable_lines(std::string_view text, std::string_view indent = {});

// How many columns it takes, and the text cut to so many, with "…" as the last. Of printable text.
std::size_t columns(std::string_view text);
std::string clipped(const std::string& text, std::size_t width);
// The same, with "…" in the middle: of what ends in what is new.
std::string squeezed(const std::string& text, std::size_t width);

using Row = std::vector<std::string>;
struct Column {
  std::string title;
  int rank = 0;                            // 0: never cut (ids). The higher, the less it matters.
  Tint (*tint)(const Row& row) = nullptr;  // of this column's cell
  bool whole = false;                      // left out rather than cut: half a time says nothing
};
using Columns = std::vector<Column>;

// Columns are as wide as they must be. When the whole is wider than `width` (0 = no limit), those that are empty are
// left out; then those of rank 2 and more are cut, the highest rank first, down to their title or 8 columns, and where
// that is not enough are left out in the same order; then those of rank 1.
std::string table(const Columns& header, const std::vector<Row>& rows, std::size_t width, bool colors = false);

// Rows that come one after the other, when nobody knows how wide the next will be. Only the last column is cut.
class GrowingTable {
 public:
  GrowingTable(Columns header, std::size_t width, bool colors);
  // For rows that are known before the title is printed.
  void widen(const Row& row);
  std::string title() const;
  std::string line(const Row& row);

 private:
  Columns header_;
  std::vector<std::size_t> widths_;
  const std::size_t width_;
  const bool colors_;
};

// `before`, which takes `left` columns, and the text beside it, made harmless; where that is too long for `width` (0:
// no limit) it goes on below itself.
std::string hanging(std::string before, std::size_t left, std::string_view text, std::size_t width,
                    Tint tint = Tint::plain, bool colors = false);

// "name   value" lines; values that are empty are left out, and long ones hang.
struct Pair {
  std::string name, value;
  Tint tint = Tint::plain;
};
std::string pairs(const std::vector<Pair>& values, std::size_t width = 0, bool colors = false);

}  // namespace creel::cli
