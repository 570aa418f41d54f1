#include "controller/cli/command_line.hpp"

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <tuple>
#include <utility>

#include "controller/cli/completion.hpp"
#include "controller/cli/doctor.hpp"
#include "controller/cli/secrets_commands.hpp"

namespace creel::cli {
namespace {

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
    app_.add_option("--config", line_.config_file, "YAML file with settings")->type_name("FILE");
    app_.add_flag("--json", line_.json, "print JSON; errors too");
    app_.add_option("--color", line_.color, "colours: auto is on a terminal, unless NO_COLOR is set")
        ->check(CLI::IsMember({"auto", "always", "never"}));
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
      const Interrupts interrupts;
      ApiClient api{loaded.config, interrupts.token()};
      const auto result = body(Client{loaded.config, api, io_, line_.json, interrupts.token()});
      if (!result) line_.refusal = api.refusal();
      return done(result);
    });
  }
  // One that is about an agent.
  CLI::App* agent_command(CLI::App& parent, const char* name, const char* help,
                          std::function<Result<void>(Client, const std::string& id)> body) {
    CLI::App* sub = client_command(parent, name, help, [this, body = std::move(body)](Client client) -> Result<void> {
      CREEL_TRY(const std::string id, find_agent(client, line_.id));
      const auto result = body(client, id);
      if (!result) return about_agent(client, line_.id, result.error());
      return result;
    });
    sub->add_option("ID", line_.id, "the agent's id, or its name")->required();
    return sub;
  }
  void add_watch(CLI::App* sub) { sub->add_flag("-w,--watch", line_.watch, "go on with what changes, until Ctrl-C"); }
  void add_wait(CLI::App* sub, int longest) {
    sub->add_option("--wait", line_.wait, "seconds to wait for the outcome")->check(CLI::Range(0, longest));
  }

  void declare_local() {
    command(app_, "serve", "run the controller", [this](const config::Loaded& loaded) -> Result<int> {
      return serve_(loaded.config);
    })->footer(settings_help());
    command(app_, "migrate", "bring the database up to date",
            [this](const config::Loaded& loaded) { return done(migrate_database(loaded.config, io_, line_.json)); });
    command(app_, "doctor", "check everything a controller needs",
            [this](const config::Loaded& loaded) -> Result<int> { return doctor(loaded.config, io_, line_.json); });
    command(app_, "config", "print the effective settings and where each comes from",
            [this](const config::Loaded& loaded) -> Result<int> {
              io_.out << (line_.json ? loaded.describe_json() + "\n" : loaded.describe());
              return 0;
            });
    command(app_, "version", "print the version", [this](const config::Loaded&) -> Result<int> {
      const std::string line = version_line();
      io_.out << (line_.json ? "{\"version\":\"" + line.substr(line.find(' ') + 1) + "\"}" : line) << "\n";
      return 0;
    });
    command(app_, "completion", "print a script by which a shell completes creel's commands, options and agents",
            [this](const config::Loaded&) -> Result<int> {
              io_.out << completion_script(line_.shell);
              return 0;
            })
        ->footer(
            "bash: source <(creel completion bash), in ~/.bashrc\n"
            "zsh:  source <(creel completion zsh), in ~/.zshrc after compinit\n"
            "fish: creel completion fish > ~/.config/fish/completions/creel.fish")
        ->add_option("SHELL", line_.shell, "whose script")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
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
      return done(add_user(loaded.config, io_, line_.user_options(), line_.json));
    }));
    CLI::App* set = command(user, "set", "change a user", [this](const config::Loaded& loaded) {
      return done(set_user(loaded.config, io_, line_.user_options(), line_.json));
    });
    CLI::Option* admin = user_options(set);
    set->add_flag("--no-admin", line_.no_admin, "make it an ordinary user")->excludes(admin);
    command(user, "list", "list users",
            [this](const config::Loaded& loaded) { return done(list_users(loaded.config, io_, line_.json)); });

    CLI::App& key = *app_.add_subcommand("key", "API keys: create");
    key.require_subcommand(1);
    CLI::App* create =
        command(key, "create", "make an API key; prints the key once, alone", [this](const config::Loaded& loaded) {
          return done(create_key(loaded.config, io_, line_.email, line_.name, line_.expires, line_.json));
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
          return done(rotate_master_key(loaded.config, io_, std::chrono::seconds{line_.wait_seconds().value_or(60)},
                                        line_.json));
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
    provision_command
        ->add_option("--config-file", line_.provision.config,
                     "JSON file with the agent's configuration, - for standard input")
        ->type_name("FILE");
    provision_command->add_option("--idempotency-key", line_.provision.idempotency_key,
                                  "the same key makes no second agent");
    add_wait(provision_command, 3600);

    CLI::App* chat_command = agent_command(
        app_, "chat", "send a message to an agent",
        [this](Client client, const std::string& id) { return chat(client, id, line_.message, line_.topic); });
    chat_command->add_option("MESSAGE", line_.message, "what to say")->required();
    chat_command->add_option("--topic", line_.topic, "conversation, \"general\" if not given");

    add_events(client_command(app_, "events", "what happened to all your agents",
                              [this](Client client) { return show_events(client, "", event_options()); }));
    client_command(app_, "orphans", "containers and volumes without an agent, and what will become of them",
                   list_orphans);
    declare_agents();
  }

  void add_events(CLI::App* sub) {
    sub->add_flag("-f,--follow", line_.follow, "go on with what happens from now on");
    sub->add_option("--limit", line_.limit, "events, the newest")->check(CLI::Range(1, 100'000));
    sub->add_option("--after", line_.after, "only events after the one with this id")
        ->check(CLI::NonNegativeNumber)
        ->type_name("EVENT");
  }
  EventOptions event_options() const { return {line_.limit, line_.after, line_.follow}; }

  void declare_agents() {
    CLI::App& agents = *app_.add_subcommand("agents", "agents: list, show, start, stop, logs and the like");
    agents.require_subcommand(1);
    add_watch(client_command(agents, "list", "list agents",
                             [this](Client client) { return list_agents(client, line_.watch); }));
    add_watch(agent_command(agents, "show", "show one", [this](Client client, const std::string& id) {
      return show_agent(client, id, line_.watch);
    }));
    for (const auto& [verb, help] :
         {std::pair{"start", "start it"}, std::pair{"stop", "stop it"}, std::pair{"restart", "restart it"},
          std::pair{"repair", "make its container anew; its data stays"},
          std::pair{"reset-memory", "make it forget; its workspace and configuration stay"}}) {
      add_wait(agent_command(agents, verb, help,
                             [this, verb = std::string{verb}](Client client, const std::string& id) {
                               return lifecycle(client, id, verb, line_.wait_seconds());
                             }),
               180);
    }
    CLI::App* update = agent_command(agents, "update", "give it another image; goes back if that does not work",
                                     [this](Client client, const std::string& id) {
                                       return update_agent(client, id, line_.image, line_.wait_seconds());
                                     });
    update->add_option("--image", line_.image, "the image, by tag or digest; the template's, if not given");
    add_wait(update, 3600);
    declare_credentials(agents);
    declare_looks(agents);
    CLI::App* remove =
        agent_command(agents, "delete", "delete it; its data is kept for the retention time",
                      [this](Client client, const std::string& id) { return delete_agent(client, id, line_.purge); });
    remove->add_flag("--purge", line_.purge, "delete its data at once, for good");
  }

  void declare_credentials(CLI::App& agents) {
    CLI::App* credential = agent_command(agents, "set-credential", "give it a key or token, or take it away",
                                         [this](Client client, const std::string& id) {
                                           return set_credential(client, id, line_.key, line_.from, *line_.environment);
                                         });
    // Not checked here: which there are is the API's to say.
    credential->add_option("KEY", line_.key, "which")
        ->required()
        ->type_name(
            "{anthropic,openai,openrouter,google,groq,telegram,discord,whatsapp,whatsapp_app_secret,"
            "whatsapp_phone_number_id}");
    CLI::Option_group* which = credential->add_option_group("value");
    which->add_option("--from", line_.from, "a file, - for standard input, or env:NAME")->type_name("SOURCE");
    which->add_flag("--remove", line_.remove, "take it away");
    which->require_option(1);
    agent_command(agents, "open", "print an address that opens its own pages in a browser, for a minute", open_agent);
    agent_command(agents, "rotate-token", "give its gateway a new token; prints it, alone", rotate_token);
    CLI::App* reach =
        agent_command(agents, "egress", "where it may go; with entries, from now on",
                      [this](Client client, const std::string& id) { return egress(client, id, line_.entries); });
    reach->add_option("ENTRY", line_.entries,
                      "open, none, or names: api.example.com, *.example.com, preset:openai, auto");
  }

  void declare_looks(CLI::App& agents) {
    CLI::App* logs = agent_command(agents, "logs", "what it printed", [this](Client client, const std::string& id) {
      return show_logs(client, id, line_.limit, line_.level, line_.follow);
    });
    logs->add_flag("-f,--follow", line_.follow, "go on with what it prints from now on");
    logs->add_option("--limit", line_.limit, "lines, at most 100")->check(CLI::Range(1, 100));
    logs->add_option("--level", line_.level, "only lines of this level")
        ->check(CLI::IsMember({"debug", "info", "warn", "error"}));
    add_events(agent_command(agents, "events", "what happened to it", [this](Client client, const std::string& id) {
      return show_events(client, id, event_options());
    }));
    CLI::App* messages =
        agent_command(agents, "messages", "what people and it said to each other",
                      [this](Client client, const std::string& id) { return show_messages(client, id, line_.limit); });
    messages->add_option("--limit", line_.limit, "messages, at most 100")->check(CLI::Range(1, 100));
    agent_command(agents, "sessions", "its conversations", show_sessions);
    CLI::App* stats = agent_command(agents, "stats", "what it uses", [this](Client client, const std::string& id) {
      return line_.history ? show_stats_history(client, id, line_.range) : show_stats(client, id, line_.watch);
    });
    CLI::Option* history = stats->add_flag("--history", line_.history, "what it used over time");
    stats->add_option("--range", line_.range, "how much time")
        ->check(CLI::IsMember({"1h", "24h", "7d", "30d"}))
        ->needs(history);
    stats->add_flag("-w,--watch", line_.watch, "go on with what changes, until Ctrl-C")->excludes(history);
    add_watch(
        agent_command(agents, "plan", "what the controller would do next, and why",
                      [this](Client client, const std::string& id) { return show_plan(client, id, line_.watch); }));
  }

  CLI::App& app_;
  Line& line_;
  Io& io_;
  const Serve& serve_;
};

}  // namespace

UserOptions Line::user_options() const {
  UserOptions options{email, password, std::nullopt, plan, subscription};
  if (admin) options.admin = true;
  if (no_admin) options.admin = false;
  return options;
}

std::shared_ptr<void> declare_commands(CLI::App& app, Line& line, Io& io, const Serve& serve) {
  auto commands = std::make_shared<Commands>(app, line, io, serve);
  commands->declare();
  return commands;
}

}  // namespace creel::cli
