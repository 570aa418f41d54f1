#include "controller/cli/cli.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <iostream>
#include <memory>
#include <tuple>

#include "controller/cli/account_commands.hpp"
#include "controller/cli/agent_commands.hpp"
#include "controller/cli/doctor.hpp"
#include "controller/cli/format.hpp"
#include "controller/cli/secrets_commands.hpp"

#ifndef CREEL_VERSION
#error "the build says which version this is"
#endif

namespace creel::cli {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

// One command line: what the options were parsed into, and which command is to be run.
struct Line {
  std::map<std::string, std::string> flags;  // by variable
  std::string config_file;
  bool json = false;
  std::function<Result<int>(const config::Loaded&)> command;  // set by the chosen subcommand

  // Values of the commands' own options; each command uses its own few.
  std::string id, message, level, topic, email, name, expires, plan, subscription, key, from, range, image;
  std::vector<std::string> entries;
  int limit = 50;
  int wait = -1;
  bool follow = false, purge = false, password = false, history = false;
  bool admin = false, no_admin = false, remove = false;
  ProvisionOptions provision;
  const config::Environment* environment = nullptr;

  std::optional<int> wait_seconds() const { return wait < 0 ? std::nullopt : std::optional<int>{wait}; }
  UserOptions user_options() const {
    UserOptions options{email, password, std::nullopt, plan, subscription};
    if (admin) options.admin = true;
    if (no_admin) options.admin = false;
    return options;
  }
};

std::string settings_help() {
  std::string text = "Settings (flag, variable or key of the --config file; what holds a secret has no flag):\n";
  for (const auto& setting : config::settings()) {
    const std::string left = setting.flag.empty() ? setting.variable : setting.flag + ", " + setting.variable;
    text += "  " + left + "\n        " + setting.help +
            (setting.fallback.empty() ? "" : " [" + setting.fallback + "]") + "\n";
  }
  return text;
}

// The parser's tree. Lambdas keep references to `line`, `io` and `serve`, which outlive the parser.
class Commands {
 public:
  Commands(CLI::App& app, Line& line, Io& io, const Serve& serve) : app_(app), line_(line), io_(io), serve_(serve) {}

  void declare() {
    app_.require_subcommand(1);
    app_.fallthrough();  // settings may stand after the command too
    app_.add_option("--config", line_.config_file, "YAML file with settings");
    app_.add_flag("--json", line_.json, "print JSON");
    for (const auto& setting : config::settings()) {
      if (!setting.flag.empty()) app_.add_option(setting.flag, line_.flags[setting.variable], setting.help)->group("");
    }
    app_.footer("Settings are listed by `creel serve --help` and, with their values, by `creel config`.");
    declare_local();
    declare_accounts();
    declare_secrets();
    declare_clients();
  }

 private:
  using Body = std::function<Result<int>(const config::Loaded&)>;

  CLI::App* command(CLI::App& parent, const char* name, const char* help, Body body) {
    CLI::App* sub = parent.add_subcommand(name, help);
    sub->callback([this, body = std::move(body)] { line_.command = body; });
    return sub;
  }
  static Result<int> done(const Result<void>& result) {
    if (!result) return result.error();
    return 0;
  }
  // A command that needs the API.
  CLI::App* client_command(CLI::App& parent, const char* name, const char* help,
                           std::function<Result<void>(Client)> body) {
    return command(parent, name, help, [this, body = std::move(body)](const config::Loaded& loaded) {
      ApiClient api{loaded.config};
      return done(body(Client{api, io_, line_.json}));
    });
  }
  void add_id(CLI::App* sub) { sub->add_option("ID", line_.id, "the agent's id")->required(); }
  void add_wait(CLI::App* sub, int longest) {
    sub->add_option("--wait", line_.wait, "seconds to wait for the outcome")->check(CLI::Range(0, longest));
  }

  void declare_local() {
    command(app_, "serve", "run the controller", [this](const config::Loaded& loaded) -> Result<int> {
      return serve_(loaded.config);
    })->footer(settings_help());
    command(app_, "migrate", "bring the database up to date",
            [this](const config::Loaded& loaded) { return done(migrate_database(loaded.config, io_)); });
    command(app_, "doctor", "check everything a controller needs",
            [this](const config::Loaded& loaded) -> Result<int> { return doctor(loaded.config, io_, line_.json); });
    command(app_, "config", "print the effective settings and where each comes from",
            [this](const config::Loaded& loaded) -> Result<int> {
              io_.out << (line_.json ? loaded.describe_json() + "\n" : loaded.describe());
              return 0;
            });
    command(app_, "version", "print the version", [this](const config::Loaded&) -> Result<int> {
      io_.out << version_line() << "\n";
      return 0;
    });
  }

  void declare_accounts() {
    CLI::App& user = *app_.add_subcommand("user", "users: add, list, set");
    user.require_subcommand(1);
    const auto user_options = [this](CLI::App* sub) {
      sub->add_option("--email", line_.email, "e-mail address")->required();
      sub->add_flag("--password-stdin", line_.password, "take the password from the first line of standard input");
      sub->add_option("--plan", line_.plan, "plan of plans.yaml");
      sub->add_option("--subscription", line_.subscription, "active or inactive")
          ->check(CLI::IsMember({"active", "inactive"}));
      return sub->add_flag("--admin", line_.admin, "make it an administrator");
    };
    user_options(command(user, "add", "add a user; prints the id", [this](const config::Loaded& loaded) {
      return done(add_user(loaded.config, io_, line_.user_options()));
    }));
    CLI::App* set = command(user, "set", "change a user", [this](const config::Loaded& loaded) {
      return done(set_user(loaded.config, io_, line_.user_options()));
    });
    CLI::Option* admin = user_options(set);
    set->add_flag("--no-admin", line_.no_admin, "make it an ordinary user")->excludes(admin);
    command(user, "list", "list users",
            [this](const config::Loaded& loaded) { return done(list_users(loaded.config, io_, line_.json)); });

    CLI::App& key = *app_.add_subcommand("key", "API keys: create");
    key.require_subcommand(1);
    CLI::App* create =
        command(key, "create", "make an API key; prints the key once, alone", [this](const config::Loaded& loaded) {
          return done(create_key(loaded.config, io_, line_.email, line_.name, line_.expires));
        });
    create->add_option("--email", line_.email, "whose key")->required();
    create->add_option("--name", line_.name, "what it is for")->required();
    create->add_option("--expires", line_.expires, "how long it is valid, for example 90d");
  }

  void declare_secrets() {
    CLI::App& secrets = *app_.add_subcommand("secrets", "the master key: status, rotate");
    secrets.require_subcommand(1);
    command(secrets, "status", "how many values are sealed under which key, and who holds it",
            [this](const config::Loaded& loaded) { return done(secrets_status(loaded.config, io_, line_.json)); });
    CLI::App* rotate = command(
        secrets, "rotate", "seal everything with a new key, while controllers serve; goes on where it was interrupted",
        [this](const config::Loaded& loaded) {
          return done(rotate_master_key(loaded.config, io_, std::chrono::seconds{line_.wait_seconds().value_or(60)}));
        });
    rotate->add_option("--wait", line_.wait, "seconds that controllers may take to learn of the key")
        ->check(CLI::Range(1, 3600));
  }

  // Tokens and keys are taken from a SOURCE, never from the command line itself.
  void declare_channels(CLI::App& sub) {
    const std::tuple<const char*, const char*, const char*> sources[] = {
        {"--telegram-token", "telegramToken", "the Telegram bot's token"},
        {"--discord-bot-token", "discordBotToken", "the Discord bot's token"},
        {"--whatsapp-token", "whatsappToken", "the token of the WhatsApp Cloud API"},
        {"--provider-key", "apiKey", "the key of the model's provider"}};
    for (const auto& [option, field, help] : sources)
      sub.add_option_function<std::string>(
             option,
             [this, field = std::string{field}](const std::string& source) { line_.provision.sources[field] = source; },
             help)
          ->type_name("SOURCE")
          ->group("Channels (SOURCE: a file, - for a line of standard input, or env:NAME)");
    const std::tuple<const char*, const char*, const char*> words[] = {
        {"--telegram-user-id", "telegramUserId", "the owner on Telegram"},
        {"--discord-guild-id", "discordGuildId", "the Discord server"},
        {"--discord-channel-id", "discordChannelId", "the one channel of it"},
        {"--whatsapp-phone-number-id", "whatsappPhoneNumberId", "which number answers"},
        {"--whatsapp-business-account-id", "whatsappBusinessAccountId", "whose number it is"},
        {"--ai-provider", "aiProvider", "openrouter, gemini, groq, anthropic or openai"}};
    for (const auto& [option, field, help] : words)
      sub.add_option_function<std::string>(
             option,
             [this, field = std::string{field}](const std::string& word) { line_.provision.channels[field] = word; },
             help)
          ->group("Channels (SOURCE: a file, - for a line of standard input, or env:NAME)");
    sub.parse_complete_callback([this] {
      const ProvisionOptions& given = line_.provision;
      if (given.name.empty() && given.channels.empty() && given.sources.empty()) throw CLI::RequiredError("--name");
    });
  }

  void declare_clients() {
    CLI::App* provision_command = client_command(app_, "provision", "make an agent", [this](Client client) {
      line_.provision.wait_seconds = line_.wait_seconds();
      return provision(client, line_.provision, *line_.environment);
    });
    provision_command->add_option("--name", line_.provision.name,
                                  "the agent's name; with a channel it may be left out");
    declare_channels(*provision_command);
    provision_command->add_option("--model", line_.provision.model,
                                  "claude-opus-4-6, gpt-4, custom, or provider/model");
    provision_command->add_option("--tier", line_.provision.tier,
                                  "a smaller plan than the account's; with a channel: free, if not given");
    provision_command->add_option("--template", line_.provision.template_name,
                                  "template, such as openclaw or reference");
    provision_command->add_option("--config-file", line_.provision.config,
                                  "JSON file with the agent's configuration, - for standard input");
    provision_command->add_option("--idempotency-key", line_.provision.idempotency_key,
                                  "the same key makes no second agent");
    add_wait(provision_command, 60);

    CLI::App* chat_command = client_command(app_, "chat", "send a message to an agent", [this](Client client) {
      return chat(client, line_.id, line_.message, line_.topic);
    });
    add_id(chat_command);
    chat_command->add_option("MESSAGE", line_.message, "what to say")->required();
    chat_command->add_option("--topic", line_.topic, "conversation, \"general\" if not given");

    client_command(app_, "orphans", "containers and volumes without an agent, and what will become of them",
                   list_orphans);

    CLI::App& agents =
        *app_.add_subcommand("agents",
                             "agents: list, show, start, stop, restart, update, repair, reset-memory, "
                             "set-credential, rotate-token, open, egress, logs, messages, sessions, stats, plan, "
                             "delete");
    agents.require_subcommand(1);
    client_command(agents, "list", "list agents", list_agents);
    add_id(client_command(agents, "show", "show one", [this](Client client) { return show_agent(client, line_.id); }));
    for (const auto& [verb, help] :
         {std::pair{"start", "start it"}, std::pair{"stop", "stop it"}, std::pair{"restart", "restart it"},
          std::pair{"repair", "make its container anew; its data stays"},
          std::pair{"reset-memory", "make it forget; its workspace and configuration stay"}}) {
      CLI::App* sub = client_command(agents, verb, help, [this, verb = std::string{verb}](Client client) {
        return lifecycle(client, line_.id, verb, line_.wait_seconds());
      });
      add_id(sub);
      add_wait(sub, 180);
    }
    CLI::App* update = client_command(
        agents, "update", "give it another image; goes back if that does not work",
        [this](Client client) { return update_agent(client, line_.id, line_.image, line_.wait_seconds()); });
    add_id(update);
    update->add_option("--image", line_.image, "the image, by tag or digest; the template's, if not given");
    add_wait(update, 180);
    CLI::App* credential = client_command(
        agents, "set-credential", "give it a key or token, or take it away",
        [this](Client client) { return set_credential(client, line_.id, line_.key, line_.from, *line_.environment); });
    add_id(credential);
    credential
        ->add_option("KEY", line_.key,
                     "anthropic, openai, openrouter, google, groq, telegram, discord, whatsapp, whatsapp_app_secret or "
                     "whatsapp_phone_number_id")
        ->required();
    CLI::Option_group* which = credential->add_option_group("value");
    which->add_option("--from", line_.from, "a file, - for standard input, or env:NAME")->type_name("SOURCE");
    which->add_flag("--remove", line_.remove, "take it away");
    which->require_option(1);
    add_id(client_command(agents, "open", "print an address that opens its own pages in a browser, for a minute",
                          [this](Client client) { return open_agent(client, line_.id); }));
    add_id(client_command(agents, "rotate-token", "give its gateway a new token; prints it, alone",
                          [this](Client client) { return rotate_token(client, line_.id); }));
    CLI::App* reach = client_command(agents, "egress", "where it may go; with entries, from now on",
                                     [this](Client client) { return egress(client, line_.id, line_.entries); });
    add_id(reach);
    reach->add_option("ENTRY", line_.entries,
                      "open, none, or names: api.example.com, *.example.com, preset:openai, auto");
    CLI::App* logs = client_command(agents, "logs", "what it printed", [this](Client client) {
      return show_logs(client, line_.id, line_.limit, line_.level, line_.follow);
    });
    add_id(logs);
    logs->add_flag("-f,--follow", line_.follow, "go on with what it prints from now on");
    logs->add_option("--limit", line_.limit, "lines, at most 100")->check(CLI::Range(1, 100));
    logs->add_option("--level", line_.level, "only lines of this level: debug, info, warn, error");
    CLI::App* messages = client_command(agents, "messages", "what people and it said to each other",
                                        [this](Client client) { return show_messages(client, line_.id, line_.limit); });
    add_id(messages);
    messages->add_option("--limit", line_.limit, "messages, at most 100")->check(CLI::Range(1, 100));
    add_id(client_command(agents, "sessions", "its conversations",
                          [this](Client client) { return show_sessions(client, line_.id); }));
    CLI::App* stats = client_command(agents, "stats", "what it uses", [this](Client client) {
      return line_.history ? show_stats_history(client, line_.id, line_.range) : show_stats(client, line_.id);
    });
    add_id(stats);
    CLI::Option* history = stats->add_flag("--history", line_.history, "what it used over time");
    stats->add_option("--range", line_.range, "1h, 24h, 7d or 30d")->needs(history);
    add_id(client_command(agents, "plan", "what the controller would do next, and why",
                          [this](Client client) { return show_plan(client, line_.id); }));
    CLI::App* remove = client_command(agents, "delete", "delete it; its data is kept for the retention time",
                                      [this](Client client) { return delete_agent(client, line_.id, line_.purge); });
    add_id(remove);
    remove->add_flag("--purge", line_.purge, "delete its data at once, for good");
  }

  CLI::App& app_;
  Line& line_;
  Io& io_;
  const Serve& serve_;
};

Result<config::Loaded> load_config(const Line& line, const config::Environment& environment) {
  config::Sources sources;
  sources.flags = line.flags;
  sources.environment = environment;
  sources.file = line.config_file;
  sources.root = geteuid() == 0;
  sources.executable = config::executable_path();
  return config::load(sources);
}

int fail(Io& io, const std::string& message) {
  io.err << "creel: " << printable(message) << "\n";
  return kFailed;
}

}  // namespace

std::string version_line() { return std::string{"creel "} + CREEL_VERSION; }

int run(const std::vector<std::string>& arguments, const config::Environment& environment, Io io, const Serve& serve) {
  try {
    Line line;
    line.environment = &environment;
    CLI::App app{"Creel keeps AI agent containers running the way their owners asked.", "creel"};
    Commands commands{app, line, io, serve};  // the parser calls back into it
    commands.declare();
    try {
      // CLI11 takes them last first.
      app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    } catch (const CLI::ParseError& error) {
      if (error.get_exit_code() == 0) return app.exit(error, io.out, io.err);  // --help
      // What the parser calls a missing subcommand is most often a mistyped one.
      const auto unknown = app.remaining(/*recurse=*/true);
      const bool mistyped = error.get_name() == "RequiredError" && !unknown.empty();
      fail(io, mistyped ? "there is no command \"" + unknown.front() + "\"" : error.what());
      io.err << "`creel --help` and `creel COMMAND --help` list what there is.\n";
      return kWrongUsage;
    }
    const auto loaded = load_config(line, environment);
    if (!loaded) return fail(io, loaded.error().message);
    const auto code = line.command(*loaded);
    if (!code) return fail(io, code.error().message);
    io.out.flush();
    return *code;
  } catch (const std::exception& problem) {
    return fail(io, std::string{"this is a bug: "} + problem.what());
  }
}

int run(int argc, char** argv, const Serve& serve) {
  // Standard output is for results. `serve` sets up the log it was asked for itself.
  auto logger = std::make_shared<spdlog::logger>("creel", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
  winsize size{};
  const bool terminal = isatty(STDOUT_FILENO) != 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
  const Io io{std::cin, std::cout, std::cerr, terminal ? size.ws_col : 0u};
  return run(std::vector<std::string>(argv + std::min(argc, 1), argv + argc), config::process_environment(), io, serve);
}

}  // namespace creel::cli
