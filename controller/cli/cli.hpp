// The command line: local commands (serve, migrate, user, key, doctor, config, version) and thin client commands that
// call the API. Sole includer of CLI11 is cli.cpp.
//
// Exit codes: 0 done, 1 it failed (one line "creel: <reason>; <remedy>" on standard error), 2 the command line is
// wrong, 130 it was ended by Ctrl-C. Results go to standard output, everything else to standard error, so that output
// can be piped. With --json an error is one JSON object, as the API answers it.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "controller/cli/terminal.hpp"
#include "controller/config/config.hpp"

namespace creel::cli {

// What the commands see of the process, so that tests can pass their own.
struct Io {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  std::size_t width = 0;            // columns of the terminal that `out` is; 0 = not a terminal: nothing is shortened
  std::size_t err_width = 0;        // the same of `err`
  std::function<Size()> measure{};  // how large the terminal of `out` is now; null: 80 by 24
  // Set by run(), by --color and the environment.
  bool colors = false, err_colors = false;
  std::chrono::milliseconds beat{500};  // how often another process is looked at while there is nothing to wait on
  bool live = false, live_err = false;  // a terminal on which the cursor can be moved: what is shown may change
};

// `serve` is what runs the controller (run_serve of controller/app.hpp): handed in, so that this folder does not depend
// on everything that the controller is made of.
using Serve = std::function<int(const Config&)>;

// `arguments` without the program's name.
int run(const std::vector<std::string>& arguments, const config::Environment& environment, Io io, const Serve& serve);
// The same for main(): the process's arguments, environment and streams.
int run(int argc, char** argv, const Serve& serve);

// "creel 0.1.0".
std::string version_line();

}  // namespace creel::cli
