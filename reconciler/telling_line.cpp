#include "reconciler/telling_line.hpp"

#include <algorithm>
#include <cctype>

#include "controller/secrets/redact.hpp"

namespace creel {
namespace {

// Shorter words are names and settings; no token Creel makes or accepts is this short.
constexpr std::size_t kSecretLength = 20;
constexpr std::size_t kShownBytes = 400;

bool word_char(unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-' || c == ':' || c == '.'; }

void collect_long_words(const std::string& text, std::vector<std::string>& into) {
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && word_char(static_cast<unsigned char>(text[i]))) continue;
    if (i - begin >= kSecretLength) into.push_back(text.substr(begin, i - begin));
    begin = i + 1;
  }
}

}  // namespace

std::vector<std::string> telling_lines(const std::vector<LogLine>& lines, const std::vector<VolumeFile>& files,
                                       std::vector<std::string> secrets, std::size_t count) {
  for (const auto& file : files) collect_long_words(file.content, secrets);
  std::vector<std::string> told;
  for (auto line = lines.rbegin(); line != lines.rend() && told.size() < count; ++line) {
    if (line->text.find_first_not_of(" \t\r") == std::string::npos) continue;
    std::string shown = secrets::redact(line->text, secrets);
    if (shown.size() > kShownBytes) {
      std::size_t cut = kShownBytes;
      while (cut > 0 && (static_cast<unsigned char>(shown[cut]) & 0xC0) == 0x80) --cut;  // not inside a UTF-8 character
      shown.resize(cut);
    }
    told.push_back(std::move(shown));
  }
  std::reverse(told.begin(), told.end());
  return told;
}

std::string telling_line(const std::vector<LogLine>& lines, const std::vector<VolumeFile>& files,
                         std::vector<std::string> secrets) {
  auto told = telling_lines(lines, files, std::move(secrets), 1);
  return told.empty() ? "" : std::move(told.front());
}

}  // namespace creel
