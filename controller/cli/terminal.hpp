// The terminal: how large it is, colours, what is drawn in place, and Ctrl-C. Threads: one at a time, but for the
// stop token of Interrupts.
#pragma once

#include <signal.h>

#include <cstddef>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "controller/config/config.hpp"

namespace creel::cli {

struct Io;

struct Size {
  std::size_t width = 0, height = 0;  // columns and lines; 0 = not a terminal
};
// What COLUMNS and LINES say stands in for what the terminal does not know itself, then 80 by 24.
Size terminal_size(int descriptor, const config::Environment& environment);

// `when`: auto, always or never. auto: only on a terminal that is not dumb, and not with NO_COLOR (no-color.org).
bool wants_colors(std::string_view when, bool terminal, const config::Environment& environment);

enum class Tint { plain, good, busy, bad, faint };
std::string tinted(const std::string& text, Tint tint, bool colors);
// Of a phase (Ready, Pulling, Failed, …).
Tint tint_of_phase(std::string_view phase);

// A page that is drawn again and again in place. What is too long for the terminal is left out at its end.
class Display {
 public:
  explicit Display(Io& io) : io_(io) {}
  // Lines that are no wider than the terminal; each ends with a line break.
  void draw(const std::string& page);

 private:
  Io& io_;
  std::size_t drawn_ = 0;  // lines above the cursor
};

// What is being waited for, on standard error: on a terminal one line that changes and is gone in the end, elsewhere a
// line for each change.
class Progress {
 public:
  explicit Progress(Io& io) : io_(io) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void show(const std::string& text);
  void clear();

 private:
  Io& io_;
  std::string shown_;
  bool open_ = false;  // a line of a terminal is in use
};

// While it lives, the first Ctrl-C or SIGTERM is a request to stop; the next ends the process. One at a time.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;
  std::stop_token token() const { return source_.get_token(); }

 private:
  std::stop_source source_;
  int wakeup_ = -1;  // an eventfd: what a signal handler may write to
  struct sigaction on_interrupt_ {};
  struct sigaction on_terminate_ {};
  std::thread thread_;
};

}  // namespace creel::cli
