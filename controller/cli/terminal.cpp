#include "controller/cli/terminal.hpp"

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <iostream>

#include "controller/cli/cli.hpp"
#include "controller/cli/format.hpp"

namespace creel::cli {
namespace {

constexpr Size kUsualSize{80, 24};

std::string variable(const config::Environment& environment, const char* name) {
  const auto found = environment.find(name);
  return found == environment.end() ? std::string{} : found->second;
}

std::size_t known_or(std::size_t known, const std::string& text, std::size_t otherwise) {
  if (known > 0) return known;
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() && number > 0 ? number : otherwise;
}

std::atomic<int> g_wakeup{-1};

void write_one(int descriptor) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = write(descriptor, &one, sizeof one);
}

void on_signal(int) {
  const int error = errno;
  write_one(g_wakeup.load());
  errno = error;
}

}  // namespace

Size terminal_size(int descriptor, const config::Environment& environment) {
  if (isatty(descriptor) == 0) return {};
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) != 0) size = {};
  return {known_or(size.ws_col, variable(environment, "COLUMNS"), kUsualSize.width),
          known_or(size.ws_row, variable(environment, "LINES"), kUsualSize.height)};
}

bool wants_colors(std::string_view when, bool terminal, const config::Environment& environment) {
  if (when != "auto") return when == "always";
  return terminal && variable(environment, "NO_COLOR").empty() && variable(environment, "TERM") != "dumb";
}

std::string tinted(const std::string& text, Tint tint, bool colors) {
  if (!colors || text.empty()) return text;
  const char* code = nullptr;
  switch (tint) {
    case Tint::plain:
      return text;
    case Tint::good:
      code = "\x1b[32m";
      break;
    case Tint::busy:
      code = "\x1b[33m";
      break;
    case Tint::bad:
      code = "\x1b[31m";
      break;
    case Tint::faint:
      code = "\x1b[2m";
      break;
  }
  return code + text + "\x1b[0m";
}

Tint tint_of_phase(std::string_view phase) {
  if (phase == "Ready") return Tint::good;
  if (phase == "Failed" || phase == "CrashLooping" || phase == "Unready") return Tint::bad;
  if (phase == "Stopped" || phase == "Deleted") return Tint::faint;
  for (const char* busy : {"Pending", "Pulling", "Creating", "Starting", "Stopping", "Deleting"})
    if (phase == busy) return Tint::busy;
  return Tint::plain;
}

void Display::draw(const std::string& page) {
  const Size size = io_.measure ? io_.measure() : kUsualSize;
  // The cursor stands below the page, so one line of the terminal is its own.
  const std::size_t room = std::max<std::size_t>(size.height, 3) - 1;
  const auto all = static_cast<std::size_t>(std::count(page.begin(), page.end(), '\n'));
  const std::size_t shown = all <= room ? all : room - 1;
  std::string out = drawn_ == 0 ? "" : "\x1b[" + std::to_string(drawn_) + "A";
  for (std::size_t line = 0, at = 0; line < shown; ++line) {
    const std::size_t end = page.find('\n', at);
    out += "\r" + page.substr(at, end - at) + "\x1b[K\n";
    at = end + 1;
  }
  if (shown < all) out += "\r… " + std::to_string(all - shown) + " more lines\x1b[K\n";
  io_.out << out << "\x1b[J" << std::flush;
  drawn_ = std::min(all, room);
}

void Progress::show(const std::string& text) {
  const std::string line = printable(text);
  if (line == shown_ || line.empty()) return;
  shown_ = line;
  open_ = io_.live_err;
  if (open_)
    io_.err << "\r" << tinted(squeezed(line, io_.err_width - 1), Tint::busy, io_.err_colors) << "\x1b[K" << std::flush;
  else
    io_.err << line << "\n" << std::flush;
}

void Progress::clear() {
  if (open_) io_.err << "\r\x1b[K" << std::flush;
  open_ = false;
}

Interrupts::Interrupts() : wakeup_(eventfd(0, EFD_CLOEXEC)) {
  g_wakeup = wakeup_;
  thread_ = std::thread{[this] {
    std::uint64_t count = 0;
    while (read(wakeup_, &count, sizeof count) < 0 && errno == EINTR) {
    }
    source_.request_stop();
  }};
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &on_interrupt_);
  sigaction(SIGTERM, &action, &on_terminate_);
}

Interrupts::~Interrupts() {
  sigaction(SIGINT, &on_interrupt_, nullptr);
  sigaction(SIGTERM, &on_terminate_, nullptr);
  write_one(wakeup_);
  thread_.join();
  g_wakeup = -1;
  close(wakeup_);
}

}  // namespace creel::cli
