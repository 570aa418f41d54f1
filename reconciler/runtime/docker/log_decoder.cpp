#include "reconciler/runtime/docker/log_decoder.hpp"

#include <cctype>
#include <optional>

namespace creel::docker {

namespace {

constexpr std::size_t kHeader = 8;
// The engine cuts messages at 16 KiB (a line longer than that is several frames); anything far above is not a frame.
constexpr std::size_t kFrameMax = 8u << 20;
// A longer line is handed on in pieces: one agent's output must not fill the controller's memory.
constexpr std::size_t kLineMax = 256u << 10;

struct Stamp {
  TimePoint at;
  std::int64_t nanoseconds = 0;
  std::size_t length = 0;  // with the blank
};

// "2026-03-19T08:00:00.123456789Z " at the beginning.
std::optional<Stamp> take_stamp(std::string_view message) {
  const auto blank = message.find(' ');
  if (blank == std::string_view::npos || blank < 20 || blank > 40) return std::nullopt;
  const std::string_view text = message.substr(0, blank);
  const auto at = parse_rfc3339(text);
  if (!at) return std::nullopt;
  std::int64_t fraction = 0;
  if (const auto dot = text.find('.'); dot != std::string_view::npos) {
    std::int64_t scale = 100'000'000;
    for (std::size_t i = dot + 1; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])); ++i) {
      fraction += (text[i] - '0') * scale;
      scale /= 10;
    }
  }
  const auto whole = std::chrono::floor<std::chrono::seconds>(*at).time_since_epoch().count();
  return Stamp{*at, whole * 1'000'000'000 + fraction, blank + 1};
}

}  // namespace

std::string to_valid_utf8(std::string_view text) {
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    std::size_t length = 0;
    std::uint32_t minimum = 0;
    std::uint32_t point = 0;
    if (lead < 0x80) {
      result += text[i++];
      continue;
    } else if (lead >= 0xC2 && lead < 0xE0) {
      length = 2, minimum = 0x80, point = lead & 0x1Fu;
    } else if (lead >= 0xE0 && lead < 0xF0) {
      length = 3, minimum = 0x800, point = lead & 0x0Fu;
    } else if (lead >= 0xF0 && lead < 0xF5) {
      length = 4, minimum = 0x10000, point = lead & 0x07u;
    }
    bool good = length != 0 && i + length <= text.size();
    for (std::size_t k = 1; good && k < length; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      good = (byte & 0xC0u) == 0x80;
      point = (point << 6) | (byte & 0x3Fu);
    }
    good = good && point >= minimum && point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
    if (good) {
      result.append(text.substr(i, length));
      i += length;
    } else {
      result += kReplacement;
      ++i;
    }
  }
  return result;
}

bool LogDecoder::end_line(bool is_stderr, const Sink& sink) {
  Unfinished& state = unfinished_[is_stderr ? 1 : 0];
  RawLogLine line = state.line;
  line.line.is_stderr = is_stderr;
  if (!state.text.empty() && state.text.back() == '\r') state.text.pop_back();
  line.line.text = to_valid_utf8(state.text);
  state = Unfinished{};
  return sink(std::move(line));
}

bool LogDecoder::take_message(bool is_stderr, std::string_view message, const Sink& sink) {
  Unfinished& state = unfinished_[is_stderr ? 1 : 0];
  if (const auto stamp = take_stamp(message)) {
    message.remove_prefix(stamp->length);
    if (!state.begun) {
      state.line.line.at = stamp->at;
      state.line.unix_nanoseconds = stamp->nanoseconds;
    }
  }
  state.begun = true;
  while (!message.empty()) {
    const auto newline = message.find('\n');
    state.text += message.substr(0, newline);
    if (newline == std::string_view::npos && state.text.size() < kLineMax) return true;
    const RawLogLine time = state.line;
    if (!end_line(is_stderr, sink)) return false;
    if (newline == std::string_view::npos) return true;
    message.remove_prefix(newline + 1);
    if (!message.empty()) {  // several lines in one message: they share its time
      state.line = time;
      state.begun = true;
    }
  }
  return true;
}

Result<bool> LogDecoder::push(std::string_view bytes, const Sink& sink) {
  buffer_ += bytes;
  std::size_t used = 0;
  bool more = true;
  while (more) {
    const std::string_view rest{buffer_.data() + used, buffer_.size() - used};
    if (tty_) {
      auto newline = rest.find('\n');
      if (newline == std::string_view::npos) {
        if (rest.size() < kLineMax) break;
        newline = rest.size() - 1;
      }
      more = take_message(false, rest.substr(0, newline + 1), sink);
      used += newline + 1;
      continue;
    }
    if (rest.size() < kHeader) break;
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(rest[i]); };
    const std::size_t length =
        std::size_t{byte(4)} << 24 | std::size_t{byte(5)} << 16 | std::size_t{byte(6)} << 8 | byte(7);
    if (byte(0) > 3 || byte(1) != 0 || byte(2) != 0 || byte(3) != 0 || length > kFrameMax) {
      return Error{ErrorKind::failed, "the engine's log stream is malformed"};
    }
    if (rest.size() < kHeader + length) break;
    const std::string_view payload = rest.substr(kHeader, length);
    if (byte(0) == 3) return Error{ErrorKind::failed, "the engine cannot read the log: " + to_valid_utf8(payload)};
    used += kHeader + length;
    more = take_message(byte(0) == 2, payload, sink);
  }
  buffer_.erase(0, used);
  return more;
}

bool LogDecoder::finish(const Sink& sink) {
  if (tty_ && !buffer_.empty() && !take_message(false, buffer_, sink)) return false;
  buffer_.clear();
  for (const bool is_stderr : {false, true}) {
    if (unfinished_[is_stderr ? 1 : 0].begun && !end_line(is_stderr, sink)) return false;
  }
  return true;
}

}  // namespace creel::docker
