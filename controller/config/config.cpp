#include "controller/config/config.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "controller/config/checks.hpp"
#include "controller/config/yaml.hpp"

#ifndef CREEL_DEFAULT_SHARE_DIR
#error "the build says where the shipped templates are installed"
#endif

namespace creel::config {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

constexpr const char* kEasOnEthereum = "0xA1207F3BBa224E2c9c3c6D5aF63D0eb1582Ce587";
constexpr const char* kEasOnBase = "0x4200000000000000000000000000000000000021";

// --- the table ------------------------------------------------------------------------------------------------------

struct Context {
  const Sources& sources;
  const Config& config;  // what the settings above have set
};

using Fallback = Result<std::string> (*)(const Context&);
using Apply = Result<void> (*)(Config&, const std::string&);

struct Entry {
  const char* variable;
  const char* shown_fallback;  // for people
  Fallback fallback;           // "" = leave the field as it is
  Apply apply;                 // never called with ""
  const char* help;
  bool secret = false;
};

std::string from(const Environment& environment, const char* name) {
  const auto found = environment.find(name);
  return found == environment.end() ? std::string{} : found->second;
}

// What a client on this machine uses to reach a listener: a wildcard is not an address to connect to.
std::string reachable(HostPort address) {
  if (address.host == "0.0.0.0") address.host = "127.0.0.1";
  if (address.host == "::") address.host = "::1";
  return address.str();
}

Result<std::string> default_state_dir(const Context& context) {
  if (context.sources.root) return std::string{"/var/lib/creel"};
  // The XDG specification: a relative value is to be ignored.
  if (const auto xdg = from(context.sources.environment, "XDG_STATE_HOME"); xdg.starts_with('/')) return xdg + "/creel";
  if (const auto home = from(context.sources.environment, "HOME"); home.starts_with('/'))
    return home + "/.local/state/creel";
  return wrong("there is no home folder to keep state in; set CREEL_STATE_DIR");
}

bool holds_plans(const fs::path& share) {
  std::error_code problem;
  return fs::is_regular_file(share / "templates" / "plans.yaml", problem);
}

// Where it was installed to, else the source checkout that build/<preset>/creel lies in.
Result<std::string> default_share_dir(const Context& context) {
  const fs::path installed = CREEL_DEFAULT_SHARE_DIR;
  if (!holds_plans(installed) && !context.sources.executable.empty()) {
    const fs::path checkout = (fs::path(context.sources.executable).parent_path() / "../..").lexically_normal();
    if (holds_plans(checkout)) return parse_path(checkout.string());
  }
  return installed.string();
}

Result<std::string> unset(const Context&) { return std::string{}; }

// A fallback that is just a text; the lambda holds nothing, so that it fits a plain table.
#define FALLBACK(text) text, [](const Context&) -> Result<std::string> { return std::string{text}; }
#define NO_FALLBACK "", unset
// Parses the value and puts it into the field.
#define SET(field, ...)                                          \
  [](Config& config, const std::string& value) -> Result<void> { \
    CREEL_TRY(config.field, __VA_ARGS__);                        \
    return {};                                                   \
  }
#define SET_TEXT(field)                                          \
  [](Config& config, const std::string& value) -> Result<void> { \
    config.field = value;                                        \
    return {};                                                   \
  }

const Entry kEntries[] = {
    {"CREEL_LISTEN", FALLBACK("127.0.0.1:8080"), SET(listen, parse_host_port(value)), "address of the REST API"},
    {"CREEL_TLS_CERT", NO_FALLBACK, SET(tls_cert, parse_path(value)),
     "certificate of both addresses in PEM, with those it was issued by; not set: no TLS. A renewed one is noticed"},
    {"CREEL_TLS_KEY", "",
     [](const Context& context) -> Result<std::string> {
       if (!context.config.tls_cert.empty()) return Error{ErrorKind::invalid, "CREEL_TLS_CERT is set, so this must be, too"};
       return std::string{};
     },
     [](Config& config, const std::string& value) -> Result<void> {
       if (config.tls_cert.empty()) return wrong("this needs CREEL_TLS_CERT");
       CREEL_TRY(config.tls_key, parse_path(value));
       return {};
     },
     "its key in PEM"},
    {"CREEL_GATEWAY_LISTEN", FALLBACK("127.0.0.1:10000"), SET(gateway_listen, parse_host_port(value)),
     "address of the proxy to the agents' gateways"},
    {"CREEL_GATEWAY_URL", "ws://<CREEL_GATEWAY_LISTEN>; wss:// with CREEL_TLS_CERT",
     [](const Context& context) -> Result<std::string> {
       return (context.config.tls_cert.empty() ? "ws://" : "wss://") + reachable(context.config.gateway_listen);
     },
     SET(gateway_url, parse_url(value, {"ws", "wss"})), "what clients are told to reach agents at"},
    {"DATABASE_URL", NO_FALLBACK, SET_TEXT(database_url),
     "PostgreSQL; not set: a private cluster in the state folder. A password belongs into the environment, not the "
     "flag"},
    {"CREEL_POSTGRES_USER", "postgres, when started by root", unset,
     [](Config& config, const std::string& value) -> Result<void> {
       if (value == "root") return wrong("PostgreSQL refuses to run as root; name an unprivileged account");
       config.postgres_user = value;
       return {};
     },
     "account that the private cluster runs as"},
    {"CREEL_STATE_DIR", "/var/lib/creel for root, else ~/.local/state/creel", default_state_dir,
     SET(state_dir, parse_path(value)), "folder of everything that is kept"},
    {"CREEL_SHARE_DIR", "where Creel is installed", default_share_dir, SET(share_dir, parse_path(value)),
     "folder that holds the shipped templates/"},
    {"CREEL_TEMPLATES", NO_FALLBACK, SET(templates, parse_path(value)), "folder of your own templates"},
    {"CREEL_DEFAULT_TEMPLATE", FALLBACK("openclaw"),
     [](Config& config, const std::string& value) -> Result<void> {
       if (value.size() > 32 || !only(value, slug_character))
         return wrong("\"" + value + "\" is not a template name ([a-z0-9-], at most 32)");
       config.default_template = value;
       return {};
     },
     "template of an agent that names none"},
    {"CREEL_CONTROLLER_ID", FALLBACK("creel"),
     [](Config& config, const std::string& value) -> Result<void> {
       if (value.size() > 32 || !only(value, slug_character) || value.front() == '-' || value.back() == '-') {
         return wrong("\"" + value + "\" is not an id; use 1 to 32 of [a-z0-9-], not beginning or ending with a dash");
       }
       config.controller_id = value;
       return {};
     },
     "two controllers with different ids share an engine without touching each other's objects"},
    {"CREEL_MASTER_KEY", NO_FALLBACK,
     [](Config& config, const std::string& value) -> Result<void> {
       CREEL_CHECK(check_master_key(value));
       config.master_key = value;
       return {};
     },
     "key that secrets are sealed with: 32 bytes in base64", true},
    {"CREEL_MASTER_KEY_PREVIOUS", NO_FALLBACK,
     [](Config& config, const std::string& value) -> Result<void> {
       for (const auto& key : split_list(value)) CREEL_CHECK(check_master_key(key));
       config.master_key_previous = value;
       return {};
     },
     "keys before it that still open what they sealed, separated by commas; see `creel secrets rotate`", true},
    {"CREEL_MASTER_KEY_FILE", "<CREEL_STATE_DIR>/master.key",
     [](const Context& context) -> Result<std::string> { return context.config.state_dir + "/master.key"; },
     SET(master_key_file, parse_path(value)), "file that holds it, with those before it in further lines; made on first start"},
    {"CREEL_LOG", FALLBACK("auto"),
     [](Config& config, const std::string& value) -> Result<void> {
       constexpr std::pair<std::string_view, LogFormat> kFormats[] = {
           {"auto", LogFormat::automatic}, {"text", LogFormat::text}, {"json", LogFormat::json}};
       for (const auto& [word, format] : kFormats) {
         if (value != word) continue;
         config.log = format;
         return {};
       }
       return wrong("\"" + value + "\" is none of auto, text, json");
     },
     "log format: text, json, or auto: text on a terminal, json otherwise"},
    {"CREEL_LOG_LEVEL", FALLBACK("info"),
     [](Config& config, const std::string& value) -> Result<void> {
       constexpr std::pair<std::string_view, LogLevel> kLevels[] = {{"debug", LogLevel::debug},
                                                                    {"info", LogLevel::info},
                                                                    {"warn", LogLevel::warn},
                                                                    {"error", LogLevel::error}};
       for (const auto& [word, level] : kLevels) {
         if (value != word) continue;
         config.log_level = level;
         return {};
       }
       return wrong("\"" + value + "\" is neither debug, info, warn nor error");
     },
     "the least important messages that are logged: debug (each request), info, warn or error"},
    {"CREEL_RESYNC_SECONDS", FALLBACK("60"), SET(resync, parse_seconds(value, seconds{1}, seconds{86'400})),
     "how often every agent is looked at, whatever notifications say"},
    {"CREEL_STATS_SECONDS", FALLBACK("10"), SET(stats, parse_seconds(value, seconds{1}, seconds{3600})),
     "how often running agents are measured"},
    {"CREEL_VOLUME_RETENTION", FALLBACK("7d"),
     SET(volume_retention, parse_seconds(value, seconds{0}, seconds{3650LL * 86'400})),
     "how long a deleted agent's volume is kept"},
    {"CREEL_ORPHANS", FALLBACK("deleted"),
     [](Config& config, const std::string& value) -> Result<void> {
       const auto mode = parse_orphan_mode(value);
       if (!mode) return wrong("\"" + value + "\" is neither report, deleted nor all");
       config.orphans = *mode;
       return {};
     },
     "which containers and volumes without an agent are removed: none (report), those of agents that this database "
     "knows to have been deleted, or all. All are reported; see `creel orphans`"},
    {"CREEL_ORPHAN_GRACE", FALLBACK("1h"),
     SET(orphan_grace, parse_seconds(value, seconds{1}, seconds{3650LL * 86'400})),
     "how long they must have been seen without an agent before; with all, volumes of unknown agents at least "
     "CREEL_VOLUME_RETENTION"},
    {"CREEL_MESSAGE_RETENTION", FALLBACK("90d"),
     SET(message_retention, parse_seconds(value, seconds{0}, seconds{36'500LL * 86'400})),
     "how long messages are kept; 0 = for ever"},
    {"CREEL_EVENT_RETENTION", FALLBACK("365d"),
     SET(event_retention, parse_seconds(value, seconds{0}, seconds{36'500LL * 86'400})),
     "how long events are kept; 0 = for ever"},
    {"CREEL_METRICS", FALLBACK("true"), SET(metrics, parse_bool(value)), "serve /metrics"},
    {"CREEL_METRICS_AGENTS", FALLBACK("500"), SET(metrics_agents, parse_int(value, 0, 100'000)),
     "agents that have series of their own in /metrics, at most; 0 = none. creel_agents_without_series counts the others"},
    {"DOCKER_HOST", FALLBACK("unix:///var/run/docker.sock"), SET(docker_host, parse_docker_host(value)), "the engine"},
    {"DOCKER_TLS_VERIFY", FALLBACK("false"), SET(docker_tls_verify, parse_bool(value)),
     "check the engine's certificate (tcp://)"},
    {"DOCKER_CERT_PATH", "~/.docker when DOCKER_TLS_VERIFY is on",
     [](const Context& context) -> Result<std::string> {
       const auto home = from(context.sources.environment, "HOME");
       return context.config.docker_tls_verify && home.starts_with('/') ? home + "/.docker" : std::string{};
     },
     SET(docker_cert_path, parse_path(value)), "folder with ca.pem, cert.pem and key.pem"},
    {"CREEL_PUBLISH_ADDRESS", "127.0.0.1 with tcp://, else none",
     [](const Context& context) -> Result<std::string> {
       return std::string{context.config.docker_host.starts_with("tcp://") ? "127.0.0.1" : "none"};
     },
     [](Config& config, const std::string& value) -> Result<void> {
       if (value == "none") return {};
       CREEL_TRY(config.publish_address, parse_publish_address(value));
       return {};
     },
     "address of the engine's host at which ports of agents are published for this controller; none: it reaches them "
     "on the engine's bridges. For an engine on another host: that host's address in a private network, since all who "
     "reach it reach agents' gateways, which ask for their tokens but speak plain HTTP. Agents keep the address that they "
     "were made with (creel agents repair)"},
    {"CREEL_FENCE", FALLBACK("on"), SET(fence, parse_bool(value)),
     "keep agents from the engine's host, from its private networks and from metadata services; on or off"},
    {"CREEL_FENCE_ALLOW", NO_FALLBACK,
     SET(fence_allow, parse_each(value, [](const std::string& one) { return parse_fence_allow(one); })),
     "where they may go all the same: addresses, networks, or host, each with a port if one likes, separated by commas "
     "(192.168.1.10:11434, host:11434)"},
    {"CREEL_EGRESS_RESOLVERS", "the engine's", unset,
     SET(egress_resolvers, parse_each(value, parse_address)),
     "name servers that the gateways of egress lists ask, separated by commas"},
    {"CREEL_EGRESS_IMAGE", FALLBACK(kEgressImage), SET_TEXT(egress_image),
     "image of the fence and of those gateways (templates/egress); one of another name is pulled when it is absent"},
    {"OPENCLAW_IMAGE", "the template's", unset, SET_TEXT(openclaw_image), "image of the openclaw template"},
    {"CREEL_IMAGE_ALLOWLIST", "each template's own repositories", unset,
     SET(image_allowlist, Result<std::vector<std::string>>{split_list(value)}),
     "image repositories an update may name, separated by commas"},
    {"AGENTS_DOMAIN", FALLBACK("agents.localhost"),
     [](Config& config, const std::string& value) -> Result<void> {
       const auto allowed = [](char c) { return slug_character(c) || c == '.'; };
       if (value.size() > 200 || !only(value, allowed) || value.front() == '.' || value.back() == '.') {
         return wrong("\"" + value + "\" is not a lower-case domain name such as agents.example.com");
       }
       config.agents_domain = value;
       return {};
     },
     "domain under which each agent has a name"},
    {"AGENTS_URL_SCHEME", FALLBACK("https"),
     [](Config& config, const std::string& value) -> Result<void> {
       if (value != "http" && value != "https") return wrong("\"" + value + "\" is neither http nor https");
       config.agents_url_scheme = value;
       return {};
     },
     "scheme of the agents' URLs"},
    {"AGENTS_URL_PORT", "the scheme's own", unset,
     [](Config& config, const std::string& value) -> Result<void> {
       CREEL_TRY(const int port, parse_int(value, 1, 65535));
       config.agents_url_port = static_cast<std::uint16_t>(port);
       return {};
     },
     "port in the agents' URLs"},
    {"ADMIN_EMAILS", NO_FALLBACK,
     [](Config& config, const std::string& value) -> Result<void> {
       config.admin_emails = split_list(value);
       for (auto& email : config.admin_emails) {
         if (email.find('@') == std::string::npos) return wrong("\"" + email + "\" is not an e-mail address");
         std::transform(email.begin(), email.end(), email.begin(),
                        [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
       }
       return {};
     },
     "users that are administrators, separated by commas"},
    {"CREEL_SIGNUP", FALLBACK("false"), SET(signup, parse_bool(value)), "let people make their own account"},
    {"CREEL_CHAT_WAIT", FALLBACK("60s"), SET(chat_wait, parse_seconds(value, seconds{1}, seconds{600})),
     "how long a chat request waits for the reply"},
    {"CREEL_TRUSTED_PROXIES", NO_FALLBACK,
     SET(trusted_proxies, parse_each(value, parse_network)),
     "addresses or networks whose X-Forwarded-For is believed, separated by commas"},
    {"CREEL_HTTP_MAX_CONNECTIONS", FALLBACK("16384"), SET(http_max_connections, parse_int(value, 16, 1'000'000)),
     "connections of clients at a time; each takes a file descriptor (ulimit -n)"},
    {"CREEL_HTTP_MAX_ADDRESS_CONNECTIONS", FALLBACK("1024"),
     SET(http_max_address_connections, parse_int(value, 1, 1'000'000)),
     "of them from one address (IPv6: from one /64), CREEL_TRUSTED_PROXIES excepted"},
    {"CREEL_HTTP_MAX_HEADER_BYTES", FALLBACK("16KiB"),
     [](Config& config, const std::string& value) -> Result<void> {
       CREEL_TRY(const auto bytes, parse_bytes(value));
       if (bytes < 1024 || bytes > 60 * 1024) return wrong("\"" + value + "\" is not between 1KiB and 60KiB");
       config.http_max_header_bytes = static_cast<int>(bytes);
       return {};
     },
     "size of a request's head"},
    {"CREEL_HTTP_MAX_MEMORY", FALLBACK("32MiB"),
     [](Config& config, const std::string& value) -> Result<void> {
       CREEL_TRY(const auto bytes, parse_bytes(value));
       if (bytes < 1024 * 1024 || bytes > 16LL * 1024 * 1024 * 1024)
         return wrong("\"" + value + "\" is not between 1MiB and 16GiB");
       config.http_max_memory = bytes;
       return {};
     },
     "for large bodies that are being sent, and as much for large answers that are slowly read; beyond it, or beyond a "
     "quarter of it from one address: 503"},
    {"CREEL_HTTP_HEADER_TIMEOUT", FALLBACK("10s"), SET(http_header_timeout, parse_seconds(value, seconds{1}, seconds{600})),
     "how long a client may take to send the whole head of a request"},
    {"CREEL_HTTP_BODY_TIMEOUT", FALLBACK("30s"), SET(http_body_timeout, parse_seconds(value, seconds{1}, seconds{3600})),
     "the same for its whole body"},
    {"CREEL_HTTP_IDLE_TIMEOUT", FALLBACK("75s"), SET(http_idle_timeout, parse_seconds(value, seconds{1}, seconds{3600})),
     "how long a connection is kept without a request"},
    {"CREEL_HTTP_WRITE_TIMEOUT", FALLBACK("30s"), SET(http_write_timeout, parse_seconds(value, seconds{1}, seconds{3600})),
     "how long a client may take to read an answer"},
    {"CREEL_RATE_LIMIT_PROVISION", FALLBACK("5"), SET(rate_limit_provision, parse_int(value, 0, 1'000'000)),
     "requests a minute and address to /api/provision; 0 = no limit"},
    {"CREEL_RATE_LIMIT_CHAT", FALLBACK("60"), SET(rate_limit_chat, parse_int(value, 0, 1'000'000)),
     "the same for chat"},
    {"CREEL_RATE_LIMIT_INSTANCE", FALLBACK("30"), SET(rate_limit_instance, parse_int(value, 0, 1'000'000)),
     "the same for /api/instance/*"},
    {"CREEL_RATE_LIMIT_API", FALLBACK("300"), SET(rate_limit_api, parse_int(value, 0, 1'000'000)),
     "the same for all of /api/*"},
    {"MUX_TOKEN_ID", NO_FALLBACK, SET_TEXT(mux_token_id), "Mux access for live streams"},
    {"MUX_TOKEN_SECRET", NO_FALLBACK, SET_TEXT(mux_token_secret), "its secret", true},
    {"MUX_BASE_URL", FALLBACK("https://api.mux.com"), SET(mux_base_url, parse_url(value, {"https", "http"})),
     "where Mux is"},
    {"WHATSAPP_GRAPH_URL", FALLBACK("https://graph.facebook.com/v21.0"),
     SET(whatsapp_graph_url, parse_url(value, {"https", "http"})), "where WhatsApp's Cloud API is"},
    {"WHATSAPP_APP_SECRET", NO_FALLBACK, SET_TEXT(whatsapp_app_secret),
     "key that Meta signs webhooks with, for agents that have none of their own", true},
    {"STRIPE_WEBHOOK_SECRET", NO_FALLBACK, SET_TEXT(stripe_webhook_secret), "key that Stripe signs webhooks with",
     true},
    // The URL of an RPC provider usually holds the account's key.
    {"ETH_RPC_URL", NO_FALLBACK, SET(eth_rpc_url, parse_url(value, {"https", "http"})),
     "Ethereum node for verifications", true},
    {"BASE_RPC_URL", NO_FALLBACK, SET(base_rpc_url, parse_url(value, {"https", "http"})), "Base node for verifications",
     true},
    {"CREEL_URL", "http://<CREEL_LISTEN>; https:// with CREEL_TLS_CERT",
     [](const Context& context) -> Result<std::string> {
       return (context.config.tls_cert.empty() ? "http://" : "https://") + reachable(context.config.listen);
     },
     SET(url, parse_url(value, {"http", "https"})), "the API that client commands call"},
    {"CREEL_API_KEY", NO_FALLBACK, SET_TEXT(api_key), "the key they call it with", true},
    {"CREEL_CA_CERT", NO_FALLBACK, SET(ca_cert, parse_path(value)),
     "certificates (PEM) that they trust instead of the system's when it speaks TLS"},
    {"CREEL_EAS_CHAIN", FALLBACK("ethereum"),
     [](Config& config, const std::string& value) -> Result<void> {
       if (value != "ethereum" && value != "base") return wrong("\"" + value + "\" is neither ethereum nor base");
       config.eas_chain = value;
       return {};
     },
     "chain of EAS attestations: ethereum (ETH_RPC_URL) or base (BASE_RPC_URL)"},
    {"CREEL_EAS_CONTRACT", "EAS on CREEL_EAS_CHAIN",
     [](const Context& context) -> Result<std::string> {
       return std::string{context.config.eas_chain == "base" ? kEasOnBase : kEasOnEthereum};
     },
     SET(eas_contract, parse_hex(value, 40)), "contract of the Ethereum Attestation Service"},
    {"CREEL_EAS_SCHEMAS", NO_FALLBACK, SET(eas_schemas, parse_hex_list(value, 64)),
     "schemas whose attestations count, separated by commas; none = type eas is off"},
    {"CREEL_EAS_ATTESTERS", NO_FALLBACK, SET(eas_attesters, parse_hex_list(value, 40)),
     "attesters that are trusted, separated by commas; none = type eas is off"},
    {"CREEL_COINBASE_EAS_CONTRACT", FALLBACK(kEasOnBase), SET(coinbase_eas_contract, parse_hex(value, 40)),
     "contract of the attestation service on Base"},
    {"CREEL_COINBASE_INDEXER", FALLBACK("0x2c7eE1E5f416dfF40054c27A62f7B357C4E8619C"),
     SET(coinbase_indexer, parse_hex(value, 40)), "Coinbase's index of its attestations"},
    {"CREEL_COINBASE_ATTESTER", FALLBACK("0x357458739F90461b99789350868CD7CF330Dd7EE"),
     SET(coinbase_attester, parse_hex(value, 40)), "address that Coinbase attests with"},
    {"CREEL_COINBASE_SCHEMA", FALLBACK("0xf8b05c79f090979bf4a80270aba232dff11a10d9ca55c4f88de95317970f0de9"),
     SET(coinbase_schema, parse_hex(value, 64)), "schema of its \"Verified Account\" attestations"},
    {"CREEL_ENS_REGISTRY", FALLBACK("0x00000000000C2E074eC69A0dFb2997BA6C7d2e1e"),
     SET(ens_registry, parse_hex(value, 40)), "registry of the Ethereum Name Service"},
    {"CREEL_WEBAUTHN_RP_ID", "host of CREEL_URL; localhost for this machine",
     [](const Context& context) -> Result<std::string> { return default_rp_id(context.config.url); },
     [](Config& config, const std::string& value) -> Result<void> {
       if (!domain_name(value)) return wrong("\"" + value + "\" is not a lower-case domain name such as example.com");
       config.webauthn_rp_id = value;
       return {};
     },
     "domain that authenticators make keys for; not an IP address"},
    {"CREEL_WEBAUTHN_ORIGINS", "CREEL_URL, if it belongs to CREEL_WEBAUTHN_RP_ID",
     [](const Context& context) -> Result<std::string> {
       const std::string origin = default_origin(context.config.url);
       return check_origin(origin, context.config.webauthn_rp_id) ? origin : std::string{};
     },
     [](Config& config, const std::string& value) -> Result<void> {
       config.webauthn_origins = split_list(value);
       for (const auto& origin : config.webauthn_origins) CREEL_CHECK(check_origin(origin, config.webauthn_rp_id));
       return {};
     },
     "pages whose registrations are accepted, as https://HOST[:PORT], separated by commas"},
};

#undef FALLBACK
#undef NO_FALLBACK
#undef SET
#undef SET_TEXT

std::string key_of(std::string_view variable) {
  if (variable.starts_with("CREEL_")) variable.remove_prefix(6);
  std::string key{variable};
  std::transform(key.begin(), key.end(), key.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return key;
}

std::string flag_of(const Entry& entry) {
  if (entry.secret) return {};
  std::string flag = "--" + key_of(entry.variable);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

// --- the file -------------------------------------------------------------------------------------------------------

struct FileValue {
  std::string value;
  std::string place;  // "creel.yaml:3"
};

Result<std::map<std::string, FileValue>> read_values(const std::string& path) {
  return guarded([&]() -> Result<std::map<std::string, FileValue>> {
    std::map<std::string, FileValue> values;
    const YamlFile file{path};
    if (!file.root().IsDefined() || file.root().IsNull()) return values;
    for (const auto& [key, node] : pairs(file, file.root(), "")) {
      const bool known = std::any_of(settings().begin(), settings().end(),
                                     [&, &name = key](const Setting& s) { return s.key == name; });
      if (!known) file.refuse(node, key, "is not a setting; `creel config` lists them all");
      std::string value;
      if (node.IsSequence()) {
        for (const auto& element : node) value += (value.empty() ? "" : ",") + scalar_text(file, element, key);
      } else {
        value = scalar_text(file, node, key);
      }
      values[key] = FileValue{value, path + ":" + std::to_string(node.Mark().line + 1)};
    }
    return values;
  });
}

}  // namespace

const std::vector<Setting>& settings() {
  static const std::vector<Setting> all = [] {
    std::vector<Setting> result;
    for (const auto& entry : kEntries) {
      result.push_back(
          {entry.variable, key_of(entry.variable), flag_of(entry), entry.shown_fallback, entry.help, entry.secret});
    }
    return result;
  }();
  return all;
}

Result<Loaded> load(const Sources& sources) {
  std::map<std::string, FileValue> file;
  if (!sources.file.empty()) {
    CREEL_TRY(file, read_values(sources.file));
  }
  Loaded loaded;
  for (const auto& entry : kEntries) {
    Origin origin{entry.variable, {}, "default"};
    std::string place = entry.variable;
    // An empty value is the same as none: "DATABASE_URL=" in a unit file means "not set".
    if (const auto flag = from(sources.flags, entry.variable); !flag.empty()) {
      origin.value = flag;
      place = flag_of(entry);
      origin.source = "flag " + place;
    } else if (const auto variable = from(sources.environment, entry.variable); !variable.empty()) {
      origin.value = variable;
      origin.source = "environment " + place;
    } else if (const auto found = file.find(key_of(entry.variable));
               found != file.end() && !found->second.value.empty()) {
      origin.value = found->second.value;
      origin.source = found->second.place;
      place = found->second.place + ": " + found->first;
    } else {
      auto fallback = entry.fallback(Context{sources, loaded.config});
      if (!fallback) return invalid(entry.variable, std::string{entry.variable} + ": " + fallback.error().message);
      origin.value = *fallback;
    }
    if (!origin.value.empty()) {
      if (auto applied = entry.apply(loaded.config, origin.value); !applied) {
        return invalid(entry.variable, place + ": " + applied.error().message);
      }
    }
    loaded.origins.push_back(std::move(origin));
  }
  if (holds_plans(loaded.config.share_dir)) loaded.config.shipped_templates = loaded.config.share_dir + "/templates";
  return loaded;
}

}  // namespace creel::config
