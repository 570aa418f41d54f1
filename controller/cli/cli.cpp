#include "controller/cli/cli.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "controller/cli/client.hpp"
#include "controller/cli/command_line.hpp"
#include "controller/cli/completion.hpp"
#include "controller/cli/format.hpp"

#ifndef CREEL_VERSION
#error "the build says which version this is"
#endif

namespace creel::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;
constexpr int kInterrupted = 130;  // as shells count a process that SIGINT ended

// Whoever presses Tab does not wait for a controller that is away.
constexpr std::chrono::milliseconds kCompletionDeadline{1'500};

Result<config::Loaded> load_config(const Line& line, const config::Environment& environment) {
  config::Sources sources;
  sources.flags = line.flags;
  sources.environment = environment;
  sources.file = line.config_file;
  sources.root = geteuid() == 0;
  sources.executable = config::executable_path();
  return config::load(sources);
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
  return text;
}

// With `json` what the API answers to a request that failed, and beside it ("hint") what a person is told. `refusal`:
// that very answer, where it was the API that refused.
int fail(Io& io, const Error& error, bool json, const std::string& refusal = {}) {
  if (error.kind == ErrorKind::cancelled) return kInterrupted;
  if (!json) {
    io.err << "creel: " << printable(error.message) << "\n";
    return kFailed;
  }
  Json body = Json::parse(refusal, nullptr, /*allow_exceptions=*/false);
  if (body.is_object()) {
    body["hint"] = error.message;
  } else {
    body = {{"error", error.message}, {"code", error.code.empty() ? upper(to_string(error.kind)) : error.code}};
    if (!error.field.empty()) body["field"] = error.field;
  }
  io.err << body.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  return kFailed;
}

int wrong_usage(const CLI::App& app, const std::vector<std::string>& arguments, const CLI::ParseError& error, Io& io) {
  std::string problem = explain_unknown(app, arguments);
  if (problem.empty()) problem = error.what();
  const bool json = std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
  (void)fail(io, Error{ErrorKind::invalid, problem, {}, "USAGE"}, json);
  if (!json) io.err << "`" << command_reached(app, arguments) << " --help` lists what there is.\n";
  return kWrongUsage;
}

// Names are what people know; an id where the name says too little, or would have to be quoted.
std::vector<Candidate> agent_candidates(const config::Loaded& loaded, const std::string& typed) {
  ApiClient api{loaded.config};
  const auto agents = fetch_agents(api, kCompletionDeadline);
  std::vector<Candidate> found;
  if (!agents) return found;
  std::map<std::string, int> named;
  for (const auto& agent : *agents) ++named[shown(agent, "name")];
  for (const auto& agent : *agents) {
    const std::string id = shown(agent, "id"), name = shown(agent, "name"), phase = shown(agent, "phase");
    const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
    });
    const bool by_name = plain && name[0] != '-' && named[name] == 1;
    if (by_name) found.push_back({name, id + " " + phase});
    if (!by_name || !typed.empty()) found.push_back({id, name + " " + phase});
  }
  return found;
}

// What a shell asks while somebody types. It says nothing of what goes wrong.
int complete_words(const CLI::App& app, const std::vector<std::string>& words, Line& line,
                   const config::Environment& environment, Io& io) {
  const auto agents = [&](const Settings& typed) -> std::vector<Candidate> {
    for (const auto& setting : config::settings())
      if (const auto found = typed.find(setting.flag); found != typed.end() && !setting.flag.empty())
        line.flags[setting.variable] = found->second;
    if (const auto file = typed.find("--config"); file != typed.end()) line.config_file = file->second;
    const auto loaded = load_config(line, environment);
    if (!loaded) return {};
    return agent_candidates(*loaded, words.empty() ? "" : words.back());
  };
  io.out << to_text(complete(app, words, agents));
  return 0;
}

}  // namespace

std::string version_line() { return std::string{"creel "} + CREEL_VERSION; }

int run(const std::vector<std::string>& arguments, const config::Environment& environment, Io io, const Serve& serve) {
  try {
    Line line;
    line.environment = &environment;
    CLI::App app{"Creel keeps AI agent containers running the way their owners asked.", "creel"};
    const auto commands = declare_commands(app, line, io, serve);  // the parser calls back into it
    if (!arguments.empty() && arguments[0] == kCompleteCommand)
      return complete_words(app, {arguments.begin() + 1, arguments.end()}, line, environment, io);
    try {
      // CLI11 takes them last first.
      app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    } catch (const CLI::ParseError& error) {
      if (error.get_exit_code() == 0) return app.exit(error, io.out, io.err);  // --help
      return wrong_usage(app, arguments, error, io);
    }
    const auto term = environment.find("TERM");
    const bool dumb = term != environment.end() && term->second == "dumb";
    io.live = io.width > 0 && !dumb;
    io.live_err = io.err_width > 0 && !dumb;
    io.colors = wants_colors(line.color, io.width > 0, environment);
    io.err_colors = wants_colors(line.color, io.err_width > 0, environment);
    const auto loaded = load_config(line, environment);
    if (!loaded) return fail(io, loaded.error(), line.json);
    const auto code = line.command(*loaded);
    if (!code) return fail(io, code.error(), line.json, line.refusal);
    io.out.flush();
    return *code;
  } catch (const std::exception& problem) {
    return fail(io, Error{ErrorKind::internal, std::string{"this is a bug: "} + problem.what(), {}, {}}, false);
  }
}

int run(int argc, char** argv, const Serve& serve) {
  // Standard output is for results. `serve` sets up the log it was asked for itself.
  auto logger = std::make_shared<spdlog::logger>("creel", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
  const auto environment = config::process_environment();
  Io io{std::cin, std::cout, std::cerr};
  io.measure = [&environment] { return terminal_size(STDOUT_FILENO, environment); };
  io.width = io.measure().width;
  io.err_width = terminal_size(STDERR_FILENO, environment).width;
  return run(std::vector<std::string>(argv + std::min(argc, 1), argv + argc), environment, io, serve);
}

}  // namespace creel::cli
