#include "controller/cli/completion.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>
#include <utility>

#include "controller/cli/advice.hpp"
#include "controller/cli/format.hpp"

namespace creel::cli {
namespace {

// --- scripts --------------------------------------------------------------------------------------------------------

// $1 and words[1] are creel as it was typed: it need not be in PATH. bash takes "=" for a word of its own.
constexpr const char* kBash = R"(# bash completion of creel: source <(creel completion bash)
_creel() {
  local line files=
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :files ]]; then files=1; else COMPREPLY+=("${line%%$'\t'*}"); fi
  done < <("$1" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  if [[ -n $files ]]; then
    compopt -o default 2>/dev/null
  elif ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *= ]]; then
    compopt -o nospace 2>/dev/null
  fi
}
complete -F _creel creel
)";

constexpr const char* kZsh = R"(#compdef creel
# zsh completion of creel: source <(creel completion zsh), or this as the file _creel in a folder of $fpath
_creel() {
  local line files=
  local -a found
  for line in "${(@f)$("${(Q)words[1]}" __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
    if [[ $line == :files ]]; then
      files=1
    elif [[ -n $line ]]; then
      found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    fi
  done
  (($#found)) && _describe -V creel found
  [[ -n $files ]] && _files
}
if [[ $funcstack[1] == _creel ]]; then _creel "$@"; else compdef _creel creel; fi
)";

constexpr const char* kFish =
    R"(# fish completion of creel: creel completion fish > ~/.config/fish/completions/creel.fish
function __creel_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = ':files'
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end
complete -c creel -f -k -a '(__creel_complete)'
)";

// --- the tree -------------------------------------------------------------------------------------------------------

using Apps = std::vector<const CLI::App*>;
using Options = std::vector<const CLI::Option*>;

Apps children(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// Its own, and those of its groups, which the parser keeps as commands without a name.
void add_options(const CLI::App& app, Options& options) {
  for (const CLI::Option* option : app.get_options()) options.push_back(option);
  for (const CLI::App* group : children(app))
    if (group->get_name().empty()) add_options(*group, options);
}

Apps commands(const CLI::App& app) {
  Apps found = children(app);
  std::erase_if(found, [](const CLI::App* sub) { return sub->get_name().empty() || sub->get_group().empty(); });
  return found;
}

// Those that may stand here: of the command, and of those above it.
Options options_at(const CLI::App& app) {
  Options options;
  for (const CLI::App* at = &app; at != nullptr; at = at->get_parent()) add_options(*at, options);
  return options;
}

std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const auto& name : option.get_lnames()) names.push_back("--" + name);
  for (const auto& name : option.get_snames()) names.push_back("-" + name);
  return names;
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }
// A setting: listed by `creel serve --help`.
bool hidden(const CLI::Option& option) { return option.get_group().empty(); }

const CLI::Option* option_named(const CLI::App& app, const std::string& name) {
  for (const CLI::Option* option : options_at(app)) {
    const auto names = names_of(*option);
    if (std::find(names.begin(), names.end(), name) != names.end()) return option;
  }
  return nullptr;
}

const CLI::App* command_named(const CLI::App& app, const std::string& name) {
  for (const CLI::App* sub : commands(app))
    if (sub->get_name() == name) return sub;
  return nullptr;
}

std::string path_of(const CLI::App& app) {
  return (app.get_parent() == nullptr ? "" : path_of(*app.get_parent()) + " ") + app.get_name();
}

// Where a row of words leads to.
struct Walk {
  const CLI::App* app;
  const CLI::Option* open = nullptr;  // its value comes next
  std::vector<std::string> positionals;
  std::vector<std::string> unknown;  // options
  Settings settings;
};

Walk walk(const CLI::App& app, const std::vector<std::string>& words) {
  Walk now{&app, nullptr, {}, {}, {}};
  std::string name;
  bool only_words = false;  // after "--"
  for (const auto& word : words) {
    if (now.open != nullptr) {
      if (word == "=") continue;  // bash gives --option=value in three words
      now.settings[name] = word;
      now.open = nullptr;
    } else if (word == "--" && !only_words) {
      only_words = true;
    } else if (!only_words && word.size() > 1 && word[0] == '-') {
      name = word.substr(0, word.find('='));
      const CLI::Option* option = option_named(*now.app, name);
      if (option == nullptr)
        now.unknown.push_back(word);
      else if (takes_value(*option) && word.find('=') == std::string::npos)
        now.open = option;
      else if (takes_value(*option))
        now.settings[name] = word.substr(word.find('=') + 1);
    } else if (const CLI::App* sub = command_named(*now.app, word); sub != nullptr && now.positionals.empty()) {
      now.app = sub;
    } else {
      now.positionals.push_back(word);
    }
  }
  return now;
}

// The parser tells the words that an option takes only in its type: "TEXT:{auto,always,never}".
std::vector<std::string> choices(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const auto begin = type.find('{'), end = type.find('}', begin);
  std::vector<std::string> words;
  if (begin == std::string::npos || end == std::string::npos) return words;
  for (std::size_t at = begin + 1; at < end;) {
    const std::size_t comma = std::min(type.find(',', at), end);
    words.push_back(type.substr(at, comma - at));
    at = comma + 1;
  }
  return words;
}

bool takes_files(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type == "FILE" || type == "SOURCE" || (hidden(option) && choices(option).empty());
}

class Completer {
 public:
  Completer(std::string typed, std::string before) : typed_(std::move(typed)), before_(std::move(before)) {}

  void add(const std::string& value, const std::string& help) {
    if (value.starts_with(typed_) && seen_.insert(value).second) result.candidates.push_back({before_ + value, help});
  }
  void add_value_of(const CLI::Option& option) {
    for (const auto& word : choices(option)) add(word, "");
    result.files = result.files || takes_files(option);
  }
  void add_commands(const CLI::App& app) {
    for (const CLI::App* sub : commands(app)) add(sub->get_name(), sub->get_description());
  }
  void add_options(const CLI::App& app) {
    for (const CLI::Option* option : options_at(app)) {
      if (hidden(*option) && app.get_name() != "serve") continue;
      for (const auto& name : names_of(*option)) add(name, option->get_description());
    }
  }

  Completion result;

 private:
  const std::string typed_;
  std::set<std::string> seen_;  // --help is an option of every command, and of those above it
  const std::string before_;    // what of the word is kept: "--color="
};

// The positional that the next word is for, or null.
const CLI::Option* next_positional(const CLI::App& app, std::size_t given) {
  Options options;
  add_options(app, options);
  for (const CLI::Option* option : options) {
    if (!option->get_positional()) continue;
    const auto most = static_cast<std::size_t>(option->get_items_expected_max());
    if (given < most) return option;
    given -= most;
  }
  return nullptr;
}

void all_commands(const CLI::App& app, Apps& found) {
  for (const CLI::App* sub : commands(app)) {
    found.push_back(sub);
    all_commands(*sub, found);
  }
}

// `word` stands where a command of `app` belongs. Its neighbours are more likely meant than what is elsewhere, but for
// a name that is right and only in the wrong place (creel stop).
std::string command_meant(const CLI::App& app, const std::string& word) {
  const CLI::App* root = &app;
  while (root->get_parent() != nullptr) root = root->get_parent();
  Apps everywhere;
  all_commands(*root, everywhere);
  const auto named = [](const Apps& apps, const std::string& name) -> std::string {
    for (const CLI::App* sub : apps)
      if (sub->get_name() == name) return path_of(*sub);
    return "";
  };
  const auto near = [&](const Apps& apps) {
    std::vector<std::string> names;
    for (const CLI::App* sub : apps) names.push_back(sub->get_name());
    return named(apps, nearest(word, names));
  };
  for (const std::string& meant : {named(everywhere, word), near(commands(app)), near(everywhere)})
    if (!meant.empty()) return meant;
  return "";
}

}  // namespace

std::string completion_script(std::string_view shell) {
  return shell == "bash" ? kBash : shell == "zsh" ? kZsh : kFish;
}

Completion complete(const CLI::App& app, const std::vector<std::string>& words,
                    const std::function<std::vector<Candidate>(const Settings&)>& agents) {
  std::string typed = words.empty() ? "" : words.back();
  std::vector<std::string> before = words;
  if (!before.empty()) before.pop_back();
  if (typed == "=") typed.clear();  // bash: the value of an option, of which nothing was typed yet
  const Walk at = walk(app, before);
  if (at.open != nullptr) {
    Completer completer{typed, ""};
    completer.add_value_of(*at.open);
    return completer.result;
  }
  if (typed.starts_with('-')) {
    const auto equals = typed.find('=');
    if (equals == std::string::npos) {
      Completer completer{typed, ""};
      completer.add_options(*at.app);
      return completer.result;
    }
    Completer completer{typed.substr(equals + 1), typed.substr(0, equals + 1)};
    const CLI::Option* option = option_named(*at.app, typed.substr(0, equals));
    if (option != nullptr) completer.add_value_of(*option);
    return completer.result;
  }
  Completer completer{typed, ""};
  if (at.positionals.empty()) completer.add_commands(*at.app);
  if (const CLI::Option* next = next_positional(*at.app, at.positionals.size())) {
    if (next->get_name(true) == "ID")
      for (const auto& agent : agents(at.settings)) completer.add(agent.value, agent.help);
    else
      completer.add_value_of(*next);
  }
  return completer.result;
}

std::string to_text(const Completion& completion) {
  std::string text;
  for (const auto& candidate : completion.candidates) text += candidate.value + "\t" + printable(candidate.help) + "\n";
  return text + (completion.files ? ":files\n" : "");
}

std::string explain_unknown(const CLI::App& app, const std::vector<std::string>& arguments) {
  const Walk at = walk(app, arguments);
  std::string problem, meant;
  if (!at.positionals.empty() && !commands(*at.app).empty()) {
    problem = "there is no command \"" + at.positionals[0] + "\"";
    meant = command_meant(*at.app, at.positionals[0]);
  } else if (!at.unknown.empty()) {
    const std::string name = at.unknown[0].substr(0, at.unknown[0].find('='));
    std::vector<std::string> known;
    for (const CLI::Option* option : options_at(*at.app))
      for (const auto& other : names_of(*option)) known.push_back(other);
    problem = "there is no option \"" + name + "\" of `" + path_of(*at.app) + "`";
    meant = nearest(name, known);
  }
  return problem + (meant.empty() ? "" : "; did you mean `" + meant + "`?");
}

std::string command_reached(const CLI::App& app, const std::vector<std::string>& arguments) {
  return path_of(*walk(app, arguments).app);
}

}  // namespace creel::cli
