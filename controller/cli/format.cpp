#include "controller/cli/format.hpp"

#include <locale.h>
#include <wchar.h>

#include <algorithm>
#include <utility>

namespace creel::cli {
namespace {

constexpr std::size_t kNarrowest = 8;
constexpr std::size_t kGap = 2;

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

// The C library knows how wide characters are, in a locale that knows them at all.
class WidthLocale {
 public:
  WidthLocale() : before_(uselocale(utf8())) {}
  ~WidthLocale() { uselocale(before_); }
  WidthLocale(const WidthLocale&) = delete;
  WidthLocale& operator=(const WidthLocale&) = delete;

  static std::size_t width(std::string_view character) {
    if (character.size() == 1) return 1;
    const auto first = static_cast<unsigned char>(character[0]);
    wchar_t code = first & (0xff >> (character.size() + 1));
    for (const char c : character.substr(1)) code = code << 6 | (static_cast<unsigned char>(c) & 0x3f);
    const int width = wcwidth(code);
    return width < 0 ? 1 : static_cast<std::size_t>(width);
  }

 private:
  // Every Debian has C.UTF-8 (libc-bin). Without it all characters count as one column.
  static locale_t utf8() {
    static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    return locale;
  }
  locale_t before_;
};

// The longest beginning that takes at most `width` columns.
std::size_t fitting(std::string_view text, std::size_t width) {
  const WidthLocale locale;
  std::size_t end = 0;
  for (std::size_t taken = 0; end < text.size();) {
    const std::size_t length = std::max<std::size_t>(character_length(text.substr(end)), 1);
    taken += WidthLocale::width(text.substr(end, length));
    if (taken > width) break;
    end += length;
  }
  return end;
}

std::string line_of(const Columns& header, const Row& cells, const std::vector<std::size_t>& widths,
                    const std::vector<bool>& left_out, bool colors) {
  std::string line;
  std::size_t blanks = 0;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    if (i < left_out.size() && left_out[i]) continue;
    const std::string whole = i < cells.size() ? cells[i] : std::string{};
    const std::string cell = clipped(whole, widths[i]);
    const Tint tint = header[i].tint != nullptr ? header[i].tint(cells) : Tint::plain;
    if (!cell.empty()) line += std::string(std::exchange(blanks, 0), ' ') + tinted(cell, tint, colors);
    blanks += widths[i] - std::min(columns(cell), widths[i]) + kGap;
  }
  return line + "\n";
}

std::string titles(const Columns& header, const std::vector<std::size_t>& widths, const std::vector<bool>& left_out) {
  Columns plain = header;
  Row cells;
  for (auto& column : plain) {
    cells.push_back(column.title);
    column.tint = nullptr;
  }
  return line_of(plain, cells, widths, left_out, false);
}

std::size_t total(const std::vector<std::size_t>& widths, const std::vector<bool>& left_out) {
  std::size_t sum = 0;
  for (std::size_t i = 0; i < widths.size(); ++i)
    if (!left_out[i]) sum += widths[i] + (sum == 0 ? 0 : kGap);
  return sum;
}

// Cuts columns of this rank and more, the highest first. False: that is not enough.
bool cut(const Columns& header, std::vector<std::size_t>& widths, const std::vector<bool>& left_out, std::size_t width,
         int least_rank) {
  int rank = 0;
  for (const auto& column : header) rank = std::max(rank, column.rank);
  for (; rank >= least_rank; --rank) {
    for (std::size_t i = 0; i < header.size(); ++i) {
      const std::size_t all = total(widths, left_out);
      if (all <= width) return true;
      if (header[i].rank != rank || left_out[i] || header[i].whole) continue;
      const std::size_t least = std::min(widths[i], std::max(kNarrowest, columns(header[i].title)));
      widths[i] -= std::min(widths[i] - least, all - width);
    }
  }
  return total(widths, left_out) <= width;
}

// Leaves out the column of the highest rank. False: there is none of this rank or more.
bool leave_out(const Columns& header, std::vector<bool>& left_out, int least_rank) {
  std::size_t least = header.size();
  for (std::size_t i = 0; i < header.size(); ++i)
    if (!left_out[i] && header[i].rank >= least_rank && (least == header.size() || header[i].rank > header[least].rank))
      least = i;
  if (least == header.size()) return false;
  left_out[least] = true;
  return true;
}

Row printable_row(const Row& row, std::size_t size) {
  Row cells;
  for (std::size_t i = 0; i < row.size() && i < size; ++i) cells.push_back(printable(row[i]));
  return cells;
}

void widen(std::vector<std::size_t>& widths, const Row& cells) {
  for (std::size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], columns(cells[i]));
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

std::string printable_lines(std::string_view text, std::string_view indent) {
  std::string lines;
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    lines += std::string{indent} + printable(text.substr(at, end - at)) + "\n";
    at = end + 1;
  }
  return lines;
}

std::size_t columns(std::string_view text) {
  const WidthLocale locale;
  std::size_t sum = 0;
  while (!text.empty()) {
    const std::size_t length = std::max<std::size_t>(character_length(text), 1);
    sum += WidthLocale::width(text.substr(0, length));
    text.remove_prefix(length);
  }
  return sum;
}

std::string clipped(const std::string& text, std::size_t width) {
  if (columns(text) <= width) return text;
  return width == 0 ? std::string{} : text.substr(0, fitting(text, width - 1)) + "…";
}

std::string squeezed(const std::string& text, std::size_t width) {
  if (columns(text) <= width) return text;
  const std::string head = clipped(text, width / 3);
  std::string_view tail = text;
  while (columns(tail) + columns(head) > width) tail.remove_prefix(std::max<std::size_t>(character_length(tail), 1));
  return head + std::string{tail};
}

std::string table(const Columns& header, const std::vector<Row>& rows, std::size_t width, bool colors) {
  std::vector<Row> clean;
  std::vector<std::size_t> natural;
  for (const auto& column : header) natural.push_back(columns(column.title));
  for (const auto& row : rows) {
    clean.push_back(printable_row(row, header.size()));
    widen(natural, clean.back());
  }
  std::vector<std::size_t> widths = natural;
  std::vector<bool> left_out(header.size(), false);
  // What says nothing goes before anything is cut.
  for (std::size_t i = 0; width > 0 && total(widths, left_out) > width && i < header.size(); ++i)
    left_out[i] = header[i].rank > 0 && std::all_of(clean.begin(), clean.end(), [i](const Row& cells) {
                    return i >= cells.size() || cells[i].empty();
                  });
  for (int least_rank : {2, 1}) {
    widths = natural;
    while (width > 0 && !cut(header, widths, left_out, width, least_rank) && leave_out(header, left_out, least_rank))
      widths = natural;
  }
  std::string out = titles(header, widths, left_out);
  for (const auto& cells : clean) out += line_of(header, cells, widths, left_out, colors);
  return out;
}

GrowingTable::GrowingTable(Columns header, std::size_t width, bool colors)
    : header_(std::move(header)), width_(width), colors_(colors) {
  for (const auto& column : header_) widths_.push_back(columns(column.title));
}

void GrowingTable::widen(const Row& row) { creel::cli::widen(widths_, printable_row(row, header_.size())); }

std::string GrowingTable::title() const { return titles(header_, widths_, {}); }

std::string GrowingTable::line(const Row& row) {
  widen(row);
  std::vector<std::size_t> widths = widths_;
  const std::size_t all = total(widths, std::vector<bool>(widths.size(), false));
  if (width_ > 0 && all > width_) widths.back() -= std::min(all - width_, widths.back() - 1);
  return line_of(header_, printable_row(row, header_.size()), widths, {}, colors_);
}

std::string hanging(std::string before, std::size_t left, std::string_view text, std::size_t width, Tint tint,
                    bool colors) {
  std::string out, rest = printable(text);
  // Where a terminal is so narrow that there is no room worth having, it breaks the lines itself.
  while (width >= left + kNarrowest && columns(rest) > width - left) {
    std::size_t end = fitting(rest, width - left);
    const std::size_t blank = rest.rfind(' ', end);
    if (blank != std::string::npos && blank > 0) end = blank;
    out += std::exchange(before, std::string(left, ' ')) + tinted(rest.substr(0, end), tint, colors) + "\n";
    rest.erase(0, std::min(rest.find_first_not_of(' ', end), rest.size()));
  }
  return out + before + tinted(rest, tint, colors) + "\n";
}

std::string pairs(const std::vector<Pair>& values, std::size_t width, bool colors) {
  std::size_t widest = 0;
  for (const auto& [name, value, tint] : values) {
    if (!value.empty()) widest = std::max(widest, name.size());
  }
  const std::size_t left = widest + kGap;
  std::string out;
  for (const auto& [name, value, tint] : values) {
    if (!value.empty()) out += hanging(name + std::string(left - name.size(), ' '), left, value, width, tint, colors);
  }
  return out;
}

}  // namespace creel::cli
