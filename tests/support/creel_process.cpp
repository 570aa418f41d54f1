#include "tests/support/creel_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "controller/core/ids.hpp"
#include "tests/support/binary.hpp"
#include "tests/support/support.hpp"

extern char** environ;

namespace creel::test {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file{path};
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

pid_t spawn(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
            const std::string& in, const std::string& out, const std::string& err) {
  std::vector<char*> argv, envp;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  for (const auto& variable : environment) envp.push_back(const_cast<char*>(variable.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, in.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_addopen(&files, 2, err.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  pid_t pid = 0;
  const int failed = posix_spawn(&pid, argv[0], &files, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&files);
  if (failed != 0) throw std::runtime_error("cannot run " + arguments[0]);
  return pid;
}

int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

Answer answer_of(Result<http::Response> response) {
  Answer answer;
  if (!response) {
    answer.text = response.error().message;
    answer.json = nlohmann::json::value_t::discarded;
    return answer;
  }
  answer.status = response->status;
  answer.headers = std::move(response->headers);
  answer.text = std::move(response->body);
  answer.json = nlohmann::json::parse(answer.text, nullptr, false);
  return answer;
}

// psql knows every conninfo and needs no library here.
void sql(const std::string& statement) {
  const std::string conninfo = required_env("CREEL_TEST_DATABASE_URL");
  const pid_t pid = spawn({"/usr/bin/psql", "-q", "-X", "-d", conninfo, "-c", statement},
                          {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"}, "/dev/null", "/dev/null", "/dev/null");
  int status = 0;
  waitpid(pid, &status, 0);
  if (exit_code(status) != 0) throw std::runtime_error("psql failed: " + statement);
}

}  // namespace

std::string creel_binary() { return std::string{CREEL_BINARY_DIR} + "/creel"; }

std::string Answer::header(const std::string& name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return "";
}

Answer EngineApi::call(const std::string& method, const std::string& path, const nlohmann::json& body,
                       http::Headers headers) {
  if (body.is_null()) return send(method, path, "", std::move(headers));
  headers.emplace_back("Content-Type", "application/json");
  return send(method, path, body.dump(), std::move(headers));
}

Answer EngineApi::send(const std::string& method, const std::string& path, std::string body, http::Headers headers) {
  http::Request request;
  request.method = method;
  request.url = "http://engine" + path;
  request.unix_socket = required_env("DOCKER_HOST").substr(std::string{"unix://"}.size());
  request.headers = std::move(headers);
  request.body = std::move(body);
  request.deadline = std::chrono::seconds{60};
  return answer_of(client_.send(std::move(request)));
}

std::string EngineApi::exec(const std::string& container, const std::vector<std::string>& command) {
  const Answer made = call("POST", "/containers/" + container + "/exec",
                           {{"Cmd", command}, {"AttachStdout", true}, {"AttachStderr", true}});
  if (made.status != 201) return "no exec: " + made.text;
  const Answer ran = call("POST", "/exec/" + made.json["Id"].get<std::string>() + "/start", {{"Detach", false}});
  // Frames: stream, three zero bytes, length (32 bit, big endian), bytes.
  std::string text;
  for (std::size_t at = 0; at + 8 <= ran.text.size();) {
    std::size_t size = 0;
    for (std::size_t i = 4; i < 8; ++i) size = size << 8 | static_cast<unsigned char>(ran.text[at + i]);
    text += ran.text.substr(at + 8, size);
    at += 8 + size;
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

nlohmann::json EngineApi::container(const std::string& agent) {
  const Answer answer = call("GET", "/containers/creel-" + agent + "/json");
  return answer.status == 200 ? answer.json : nlohmann::json(nlohmann::json::value_t::discarded);
}

void EngineApi::remove_all(const std::string& controller) {
  const std::string filter = http::url_encode(nlohmann::json{{"label", {"dev.creel.controller=" + controller}}}.dump());
  for (const auto& item : call("GET", "/containers/json?all=1&filters=" + filter).json)
    call("DELETE", "/containers/" + item.at("Id").get<std::string>() + "?force=1");
  const Answer volumes = call("GET", "/volumes?filters=" + filter);
  if (volumes.json.contains("Volumes") && volumes.json["Volumes"].is_array())
    for (const auto& item : volumes.json["Volumes"]) call("DELETE", "/volumes/" + item.at("Name").get<std::string>());
  for (const auto& item : call("GET", "/networks?filters=" + filter).json)
    call("DELETE", "/networks/" + item.at("Id").get<std::string>());
}

CreelProcess::CreelProcess(Env env) : controller_("t" + random_hex(4)) {
  const std::filesystem::path work = required_env("CREEL_TEST_WORK");
  state_ = work / ("state-" + controller_);
  std::filesystem::create_directories(state_);
  const std::string port = std::to_string(free_port());
  url_ = "http://127.0.0.1:" + port;
  env_ = {{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
          {"HOME", state_.string()},
          {"LC_ALL", "C.UTF-8"},
          {"CREEL_LISTEN", "127.0.0.1:" + port},
          {"CREEL_GATEWAY_LISTEN", "127.0.0.1:" + std::to_string(free_port())},
          {"CREEL_STATE_DIR", state_.string()},
          {"CREEL_CONTROLLER_ID", controller_},
          {"CREEL_DEFAULT_TEMPLATE", "reference"},
          {"CREEL_SHARE_DIR", test::source_dir()},
          {"CREEL_RATE_LIMIT_PROVISION", "0"},
          {"CREEL_RATE_LIMIT_CHAT", "0"},
          {"CREEL_RATE_LIMIT_INSTANCE", "0"},
          {"CREEL_RATE_LIMIT_API", "0"},
          // Its rules are the host's, and outlive their controller: FenceTest sets them, and takes them away.
          {"CREEL_FENCE", "off"},
          {"DOCKER_HOST", required_env("DOCKER_HOST")}};
  if (!env.contains("DATABASE_URL")) {
    database_ = "creel_" + controller_;
    sql("CREATE DATABASE " + database_);
    env_["DATABASE_URL"] = required_env("CREEL_TEST_DATABASE_URL") + " dbname=" + database_;
  }
  for (auto& [name, value] : env) {
    if (value.empty())
      env_.erase(name);
    else
      env_[name] = value;
  }
}

CreelProcess::~CreelProcess() {
  stop();
  engine_.remove_all(controller_);
  try {
    if (!database_.empty()) sql("DROP DATABASE IF EXISTS " + database_ + " WITH (FORCE)");
  } catch (const std::exception&) {
    // The cluster is thrown away with the test run anyway.
  }
  std::error_code ignored;
  std::filesystem::remove_all(state_, ignored);
}

std::vector<std::string> CreelProcess::environment() const {
  std::vector<std::string> out;
  for (const auto& [name, value] : env_) out.push_back(name + "=" + value);
  return out;
}

void CreelProcess::listen_at(const std::string& host) {
  for (const char* variable : {"CREEL_LISTEN", "CREEL_GATEWAY_LISTEN"}) {
    std::string& address = env_[variable];
    address = host + address.substr(address.rfind(':'));
  }
  url_ = "http://" + env_["CREEL_LISTEN"];
}

void CreelProcess::speak_tls(const std::string& certificate, const std::string& key, const std::string& ca) {
  env_["CREEL_TLS_CERT"] = certificate;
  env_["CREEL_TLS_KEY"] = key;
  url_ = "https://" + env_["CREEL_LISTEN"];
  tls_ = http::Tls{ca, "", ""};
}

void CreelProcess::launch() {
  const std::string log_file = (state_ / "serve.log").string();
  pid_ = spawn({creel_binary(), "serve"}, environment(), "/dev/null", log_file, log_file);
}

void CreelProcess::start() {
  launch();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{120};
  while (call("GET", "/readyz").status != 200) {
    if (!running()) throw std::runtime_error("creel serve ended: " + log());
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("creel serve is not ready: " + log());
    std::this_thread::sleep_for(std::chrono::milliseconds{20});  // polls another process: there is nothing to wait on
  }
}

bool CreelProcess::running() {
  if (pid_ == 0) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) == 0) return true;
  pid_ = 0;
  return false;
}

void CreelProcess::kill_hard() {
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = 0;
}

int CreelProcess::stop() {
  if (pid_ == 0) return -1;
  kill(pid_, SIGTERM);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = 0;
  return exit_code(status);
}

Finished CreelProcess::run(const std::vector<std::string>& arguments, const std::string& input) {
  return run_for(arguments, input, std::nullopt);
}

Finished CreelProcess::run_and_kill(const std::vector<std::string>& arguments, std::chrono::milliseconds after) {
  return run_for(arguments, "", after);
}

Finished CreelProcess::run_for(const std::vector<std::string>& arguments, const std::string& input,
                               std::optional<std::chrono::milliseconds> longest) {
  const std::filesystem::path base = state_ / ("run-" + random_hex(4));
  const std::string in = base.string() + ".in", out = base.string() + ".out", err = base.string() + ".err";
  std::ofstream{in} << input;
  std::vector<std::string> all{creel_binary()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const pid_t pid = spawn(all, environment(), in, out, err);
  int status = 0;
  if (longest) {
    const auto end = std::chrono::steady_clock::now() + *longest;
    while (waitpid(pid, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() >= end) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
  } else {
    waitpid(pid, &status, 0);
  }
  return {exit_code(status), read_file(out), read_file(err)};
}

std::string CreelProcess::user(const std::string& email, const std::string& plan, const std::string& subscription,
                               bool admin) {
  std::vector<std::string> add{"user", "add", "--email", email, "--plan", plan, "--subscription", subscription};
  if (admin) add.push_back("--admin");
  if (const Finished done = run(add); done.code != 0) throw std::runtime_error("user add: " + done.err);
  const Finished key = run({"key", "create", "--email", email, "--name", "test"});
  if (key.code != 0) throw std::runtime_error("key create: " + key.err);
  return key.out.substr(0, key.out.find('\n'));
}

Answer CreelProcess::call(const std::string& method, const std::string& path, const std::string& key,
                          const nlohmann::json& body, http::Headers headers) {
  http::Request request;
  request.method = method;
  request.url = url_ + path;
  request.tls = tls_;
  request.headers = std::move(headers);
  if (!key.empty()) request.headers.emplace_back("Authorization", "Bearer " + key);
  if (!body.is_null()) {
    request.headers.emplace_back("Content-Type", "application/json");
    request.body = body.dump();
  }
  request.deadline = std::chrono::seconds{200};
  return answer_of(client_.send(std::move(request)));
}

Answer CreelProcess::until(const std::string& path, const std::string& key, std::function<bool(const Answer&)> done,
                           std::chrono::seconds longest) {
  const auto deadline = std::chrono::steady_clock::now() + longest;
  for (;;) {
    Answer answer = call("GET", path, key);
    if (done(answer) || std::chrono::steady_clock::now() > deadline) return answer;
    std::this_thread::sleep_for(std::chrono::milliseconds{50});  // polls another process over its API
  }
}

std::string CreelProcess::log() const { return read_file(state_ / "serve.log"); }

}  // namespace creel::test
