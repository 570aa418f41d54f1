#include "controller/cli/format.hpp"

#include <algorithm>

namespace creel::cli {
namespace {

constexpr std::size_t kNarrowest = 8;

bool continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// Length of the UTF-8 character at the front, 0 when it is not one.
std::size_t character_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t length = lead < 0x80                   ? 1
                             : lead >= 0xf0 && lead < 0xf5 ? 4
                             : lead >= 0xe0                ? 3
                             : lead >= 0xc2                ? 2
                                                           : 0;
  if (length == 0 || lead >= 0xf5 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if (!continuation(text[i])) return 0;
  }
  return length;
}

std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !continuation(c); }));
}

std::string shorten(const std::string& text, std::size_t width) {
  if (columns(text) <= width) return text;
  std::size_t end = 0;
  for (std::size_t count = 0; end < text.size(); ++end) {
    if (!continuation(text[end]) && ++count == width) break;
  }
  return text.substr(0, end) + "…";
}

void add_line(std::string& out, const std::vector<std::string>& cells, const std::vector<std::size_t>& widths) {
  std::string line;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const std::string cell = i < cells.size() ? shorten(cells[i], widths[i]) : std::string{};
    line += cell + std::string(widths[i] - columns(cell) + 2, ' ');
  }
  line.erase(line.find_last_not_of(' ') + 1);
  out += line + "\n";
}

}  // namespace

std::string printable(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t length = character_length(text);
    const auto first = static_cast<unsigned char>(text[0]);
    // U+0080 to U+009F are control characters too (0x9b begins a sequence on some terminals).
    const bool control = (length == 1 && (first < 0x20 || first == 0x7f)) ||
                         (length == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0);
    if (length == 0 || control) {
      result += first == '\t' ? ' ' : '?';
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return result;
}

std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows,
                  std::size_t width) {
  std::vector<std::vector<std::string>> clean;
  std::vector<std::size_t> widths;
  for (const auto& title : header) widths.push_back(columns(title));
  for (const auto& row : rows) {
    auto& cells = clean.emplace_back();
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      cells.push_back(printable(row[i]));
      widths[i] = std::max(widths[i], columns(cells.back()));
    }
  }
  const auto total = [&widths] {
    std::size_t sum = widths.empty() ? 0 : 2 * (widths.size() - 1);
    for (const std::size_t w : widths) sum += w;
    return sum;
  };
  while (width > 0 && total() > width) {
    const auto widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= kNarrowest) break;
    *widest -= std::min(*widest - kNarrowest, total() - width);
  }
  std::string out;
  add_line(out, header, widths);
  for (const auto& cells : clean) add_line(out, cells, widths);
  return out;
}

std::string pairs(const std::vector<std::pair<std::string, std::string>>& values) {
  std::size_t widest = 0;
  for (const auto& [name, value] : values) {
    if (!value.empty()) widest = std::max(widest, name.size());
  }
  std::string out;
  for (const auto& [name, value] : values) {
    if (!value.empty()) out += name + std::string(widest - name.size() + 2, ' ') + printable(value) + "\n";
  }
  return out;
}

}  // namespace creel::cli
