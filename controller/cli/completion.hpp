// Shell completion. The scripts are a few lines in each shell's language that ask `creel __complete WORD...`, which
// reads the tree of commands itself: what is completed is what this binary knows. Threads: one.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace creel::cli {

// The name of the hidden command.
inline constexpr std::string_view kCompleteCommand = "__complete";

// `shell`: bash, zsh or fish.
std::string completion_script(std::string_view shell);

struct Candidate {
  std::string value;
  std::string help;
};
struct Completion {
  std::vector<Candidate> candidates;
  bool files = false;  // names of files, too
};
// What can stand in the place of the last of `words`, which is what was typed of it so far. `agents` is asked for
// agents where one is wanted, with the settings that were typed (by flag).
using Settings = std::map<std::string, std::string>;
Completion complete(const CLI::App& app, const std::vector<std::string>& words,
                    const std::function<std::vector<Candidate>(const Settings&)>& agents);
// A line for each: value, and after a tab what it is; ":files" for names of files.
std::string to_text(const Completion& completion);

// What is wrong with arguments that the parser does not know, and what was meant: a command or option that is there.
// "" if it finds nothing of that kind.
std::string explain_unknown(const CLI::App& app, const std::vector<std::string>& arguments);
// The command that `arguments` lead to, as it is called: "creel agents".
std::string command_reached(const CLI::App& app, const std::vector<std::string>& arguments);

}  // namespace creel::cli
