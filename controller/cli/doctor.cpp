#include "controller/cli/doctor.hpp"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "controller/cli/format.hpp"
#include "controller/cli/local_store.hpp"
#include "controller/config/template_file.hpp"
#include "controller/core/clock.hpp"
#include "controller/http/client.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/master_key.hpp"

namespace creel::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uintmax_t kEnoughDisk = 1ULL << 30;
constexpr std::int64_t kClockTolerance = 2'000;
constexpr std::chrono::milliseconds kEngineDeadline{5'000};
constexpr std::chrono::milliseconds kPortDeadline{2'000};
// Engine API: the oldest that Creel speaks (Docker 20.10).
constexpr int kOldestApiMinor = 41;

std::string reason(int error) { return std::error_code(error, std::generic_category()).message(); }

Json parse(const std::string& text) { return Json::parse(text, nullptr, /*allow_exceptions=*/false); }

std::string text(const Json& json, const char* name) {
  if (!json.is_object()) return {};
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

// --- templates, key, disk -------------------------------------------------------------------------------------------

Check check_templates(const Result<config::Catalog>& catalog) {
  if (!catalog) return {"templates", false, catalog.error().message};
  std::string names;
  for (const auto& tmpl : catalog->templates.all()) names += (names.empty() ? "" : ", ") + tmpl.name;
  return {"templates", true, names};
}

// nullopt in `sealer`: there is none yet, or it cannot be used.
Check check_master_key(const Config& config, std::optional<secrets::Sealer>& sealer) {
  if (config.master_key.empty()) {
    std::error_code problem;
    if (!fs::exists(config.master_key_file, problem)) {
      if (problem && problem != std::errc::no_such_file_or_directory) {
        return {"master key", false,
                config.master_key_file + ": " + problem.message() + "; run as the account that runs creel serve"};
      }
      return {"master key", true, "none yet; the first start makes " + config.master_key_file};
    }
  }
  // The file is there, so nothing is made.
  auto loaded = secrets::Sealer::load(config.master_key, config.master_key_previous, config.master_key_file);
  if (!loaded) return {"master key", false, loaded.error().message};
  sealer = std::move(*loaded);
  return {"master key", true, "key id " + sealer->key_id()};
}

Check check_disk(const Config& config) {
  fs::path place = config.state_dir;
  std::error_code problem;
  while (!fs::exists(place, problem) && place.has_relative_path()) place = place.parent_path();
  struct statvfs space {};
  if (statvfs(place.c_str(), &space) != 0) {
    return {"disk", false,
            place.string() + ": " + reason(errno) + "; set CREEL_STATE_DIR to a folder that can be used"};
  }
  if (access(place.c_str(), W_OK | X_OK) != 0) {
    return {"disk", false,
            place.string() + " cannot be written: " + reason(errno) + "; run as its owner or set CREEL_STATE_DIR"};
  }
  const std::uintmax_t free = static_cast<std::uintmax_t>(space.f_bavail) * space.f_frsize;
  const std::string amount = std::to_string(free >> 20) + " MiB free in " + place.string();
  if (free < kEnoughDisk)
    return {"disk", false, amount + "; PostgreSQL stops when it is full: make room for at least 1024 MiB"};
  return {"disk", true, amount};
}

// --- PostgreSQL -----------------------------------------------------------------------------------------------------

bool postgres_installed() {
  std::error_code problem;
  for (fs::directory_iterator entry{"/usr/lib/postgresql", problem}, end; !problem && entry != end;
       entry.increment(problem)) {
    if (access((entry->path() / "bin/initdb").c_str(), X_OK) == 0) return true;
  }
  const char* path = getenv("PATH");
  for (std::string_view rest = path != nullptr ? path : ""; !rest.empty();) {
    const auto colon = rest.find(':');
    if (access((std::string{rest.substr(0, colon)} + "/initdb").c_str(), X_OK) == 0) return true;
    rest.remove_prefix(colon == std::string_view::npos ? rest.size() : colon + 1);
  }
  return false;
}

std::int64_t local_ms() { return system_now().time_since_epoch().count(); }

// Nothing is under another key than the one that seals, and that is the one the settings want.
Check check_sealed(store::Tx& tx, secrets::Sealer& sealer) {
  // Rolled back: on a database that has no check row yet, the first start is to write it.
  if (const auto fits = store::check_master_key(tx, sealer); !fits) return {"sealed data", false, fits.error().message};
  const auto uses = store::key_uses(tx);
  if (!uses) return {"sealed data", false, uses.error().message};
  std::int64_t left = 0;
  for (const auto& use : *uses)
    if (!use.seals) left += use.values;
  if (left > 0)
    return {"sealed data", false,
            std::to_string(left) + " values are sealed under an old master key; run: creel secrets rotate"};
  if (uses->size() > 1 || sealer.key_ids().front() != sealer.key_id())
    return {"sealed data", false, "a rotation of the master key is not finished; run: creel secrets rotate"};
  return {"sealed data", true, "fits the master key"};
}

void check_database(const LocalStore& local, std::optional<secrets::Sealer>& sealer, std::vector<Check>& checks) {
  const auto failed = [&](const Error& error) { checks.push_back({"postgresql", false, error.message}); };
  auto tx = local.database->begin();
  if (!tx) return failed(tx.error());
  const std::int64_t before = local_ms();
  const auto rows = tx->exec(
      "SELECT current_setting('server_version') AS version, "
      "(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms, "
      "to_regclass('sealing_keys') IS NOT NULL AS migrated");
  const std::int64_t after = local_ms();
  if (!rows) return failed(rows.error());
  const auto row = (*rows)[0];
  const bool migrated = row.boolean("migrated");
  const std::string place = local.cluster ? "embedded" : "DATABASE_URL";
  checks.push_back({"postgresql", true,
                    "version " + row.text("version") + ", " + place +
                        (migrated ? "" : "; not migrated yet, the first start does it")});
  checks.push_back(judge_clock(row.integer("now_ms"), (before + after) / 2, after - before));
  if (!migrated) return;
  if (sealer) return checks.push_back(check_sealed(*tx, *sealer));
  if (const auto key = store::sealing_key(*tx))
    checks.push_back({"sealed data", false,
                      "sealed with the master key " + *key +
                          ", which is not there; put it back (CREEL_MASTER_KEY or CREEL_MASTER_KEY_FILE)"});
}

void check_postgres(const Config& config, Io& io, std::optional<secrets::Sealer>& sealer, std::vector<Check>& checks) {
  std::error_code problem;
  if (config.database_url.empty() && !fs::exists(config.state_dir + "/postgres", problem)) {
    if (problem) {
      checks.push_back({"postgresql", false,
                        config.state_dir + ": " + problem.message() + "; run as the account that runs creel serve"});
    } else if (postgres_installed()) {
      checks.push_back(
          {"postgresql", true, "installed; the first start makes a private cluster in " + config.state_dir});
    } else {
      checks.push_back(
          {"postgresql", false, "not installed; apt-get install postgresql, or set DATABASE_URL to a server"});
    }
    return;
  }
  auto local = find_store(config, io);
  if (!local) {
    checks.push_back({"postgresql", false, local.error().message});
    return;
  }
  auto database = store::Database::open(local->conninfo, 1);
  if (!database) {
    checks.push_back({"postgresql", false, database.error().message});
    return;
  }
  local->database = std::move(*database);
  check_database(*local, sealer, checks);
}

// --- engine ---------------------------------------------------------------------------------------------------------

http::Request engine_request(const Config& config, const std::string& path) {
  http::Request request;
  request.deadline = kEngineDeadline;
  request.connect_timeout = kEngineDeadline;
  if (config.docker_host.starts_with("unix://")) {
    request.unix_socket = config.docker_host.substr(7);
    request.url = "http://engine" + path;
    return request;
  }
  const std::string& certificates = config.docker_cert_path;
  const bool tls = config.docker_tls_verify || !certificates.empty();
  request.url = (tls ? "https://" : "http://") + config.docker_host.substr(6) + path;
  if (tls) {
    http::Tls& with = request.tls.emplace();
    with.verify = config.docker_tls_verify;
    if (!certificates.empty()) {
      with.ca_file = certificates + "/ca.pem";
      with.cert_file = certificates + "/cert.pem";
      with.key_file = certificates + "/key.pem";
    }
  }
  return request;
}

Check check_engine(const Config& config, http::Client& client) {
  const auto answer = client.send(engine_request(config, "/version"));
  if (answer) return judge_engine(answer->status, answer->body);
  std::string remedy = "; start Docker or set DOCKER_HOST";
  if (config.docker_host.starts_with("unix://")) {
    const std::string socket = config.docker_host.substr(7);
    if (access(socket.c_str(), F_OK) != 0) {
      remedy = "; there is no such socket: install docker.io and start it, or set DOCKER_HOST";
    } else if (access(socket.c_str(), R_OK | W_OK) != 0) {
      remedy = "; this account may not use the socket: run as root or join the group docker";
    }
  }
  return {"engine", false, answer.error().message + remedy};
}

Check check_image(const Config& config, const Template& tmpl, http::Client& client) {
  const auto answer = client.send(engine_request(config, "/images/" + tmpl.image + "/json"));
  if (!answer) return {"image", false, tmpl.image + ": the engine cannot be asked (" + answer.error().message + ")"};
  if (answer->status == 200) return {"image", true, tmpl.image};
  if (answer->status != 404)
    return {"image", false,
            tmpl.image + ": the engine answered " + std::to_string(answer->status) + " " +
                text(parse(answer->body), "message")};
  std::string remedy = "docker pull " + tmpl.image;
  if (!tmpl.build_script.empty()) remedy += ", or build it without a registry: " + tmpl.build_script;
  return {"image", false, tmpl.image + " is not there; " + remedy};
}

Check check_fence(const Config& config, http::Client& client) {
  if (!config.fence) return {"fence", true, "switched off (CREEL_FENCE): agents reach this host and its networks"};
  const std::string& image = config.egress_image;
  const auto answer = client.send(engine_request(config, "/images/" + image + "/json"));
  if (!answer) return {"fence", false, "the engine cannot be asked (" + answer.error().message + ")"};
  if (answer->status == 200) return {"fence", true, image};
  return {
      "fence", false,
      "its image " + image + " is not there, so that agents reach this host and its networks; make it with " +
          config.share_dir +
          "/templates/egress/build-image.sh, name one that can be pulled (CREEL_EGRESS_IMAGE), or set CREEL_FENCE=off"};
}

// --- ports ----------------------------------------------------------------------------------------------------------

// 0 when the address can be listened on, else errno, or -1 when the host name means nothing.
int try_listen(const HostPort& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found) != 0) return -1;
  int result = 0;
  const int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
  const int on = 1;
  if (fd < 0) {
    result = errno;
  } else {
    // As a server would: a connection that has just ended does not count.
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1) != 0) result = errno;
    close(fd);
  }
  freeaddrinfo(found);
  return result;
}

// Whether it is Creel that listens there. Nothing else answers /healthz with JSON and a request id; where agents are
// reached, and over TLS, the answer is an error, which repeats that id.
bool is_creel(const HostPort& address, http::Client& client) {
  HostPort reachable = address;
  if (reachable.host == "0.0.0.0") reachable.host = "127.0.0.1";
  if (reachable.host == "::") reachable.host = "::1";
  http::Request request;
  request.url = "http://" + reachable.str() + "/healthz";
  request.deadline = kPortDeadline;
  const auto answer = client.send(std::move(request));
  if (!answer || answer->header("x-request-id").empty()) return false;
  const Json body = parse(answer->body);
  return body.is_object() && (answer->status == 200 || text(body, "requestId") == answer->header("x-request-id"));
}

Check check_port(const char* name, const char* variable, const HostPort& address, http::Client& client) {
  const int problem = try_listen(address);
  if (problem == 0) return {name, true, address.str() + " is free"};
  if (problem == -1)
    return {name, false, "\"" + address.host + "\" is no address of this machine; set " + std::string{variable}};
  if (problem == EADDRINUSE) {
    if (is_creel(address, client)) return {name, true, address.str() + " is served by creel"};
    return {
        name, false,
        address.str() + " is taken by another program; stop it (ss -ltnp shows it) or set " + std::string{variable}};
  }
  return {name, false, address.str() + ": " + reason(problem) + "; set " + std::string{variable}};
}

}  // namespace

Check judge_engine(int status, const std::string& body) {
  const Json answer = parse(body);
  const std::string api = text(answer, "ApiVersion");
  if (status != 200 || api.empty())
    return {"engine", false,
            "what answers (status " + std::to_string(status) + ") is no Docker engine; set DOCKER_HOST"};
  const auto dot = api.find('.');
  int major = 0, minor = 0;
  std::from_chars(api.data(), api.data() + std::min(dot, api.size()), major);
  if (dot != std::string::npos) std::from_chars(api.data() + dot + 1, api.data() + api.size(), minor);
  const std::string version = "Docker " + text(answer, "Version") + ", API " + api;
  if (major < 1 || (major == 1 && minor < kOldestApiMinor)) {
    return {"engine", false, version + " is too old; Creel needs API 1.41 (Docker 20.10) or newer"};
  }
  return {"engine", true, version};
}

Check judge_clock(std::int64_t database_ms, std::int64_t local_time_ms, std::int64_t round_trip_ms) {
  const std::int64_t apart = database_ms - local_time_ms;
  const std::int64_t size = apart < 0 ? -apart : apart;
  const std::string found = "PostgreSQL's clock is " + std::to_string(size) + " ms " + (apart < 0 ? "behind" : "ahead");
  if (size > kClockTolerance + round_trip_ms) return {"clock", false, found + "; set both machines' clocks (NTP)"};
  return {"clock", true, found};
}

std::vector<Check> examine(const Config& config, Io& io) {
  std::vector<Check> checks;
  std::optional<secrets::Sealer> sealer;
  const auto catalog = config::load_catalog(config);
  checks.push_back(check_templates(catalog));
  checks.push_back(check_master_key(config, sealer));
  checks.push_back(check_disk(config));
  check_postgres(config, io, sealer, checks);
  http::Client client;
  checks.push_back(check_engine(config, client));
  // Without an engine there is no telling which images it has.
  const bool engine_there = checks.back().ok;
  if (engine_there && catalog)
    checks.push_back(check_image(config, *catalog->templates.find(config.default_template), client));
  if (engine_there) checks.push_back(check_fence(config, client));
  checks.push_back(check_port("api port", "CREEL_LISTEN", config.listen, client));
  checks.push_back(check_port("gateway port", "CREEL_GATEWAY_LISTEN", config.gateway_listen, client));
  return checks;
}

int doctor(const Config& config, Io& io, bool json) {
  const auto checks = examine(config, io);
  bool all = true;
  auto list = nlohmann::ordered_json::array();
  std::size_t widest = 0;
  for (const auto& check : checks) widest = std::max(widest, check.name.size());
  for (const auto& check : checks) {
    all = all && check.ok;
    list.push_back({{"check", check.name}, {"ok", check.ok}, {"detail", check.detail}});
    const std::string word =
        check.ok ? tinted("ok", Tint::good, io.colors) + "    " : tinted("FAIL", Tint::bad, io.colors) + "  ";
    const std::string name = check.name + std::string(widest - check.name.size() + 2, ' ');
    if (!json) io.out << hanging(word + name, 6 + name.size(), check.detail, io.width);
  }
  if (json) io.out << list.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  return all ? 0 : 1;
}

}  // namespace creel::cli
