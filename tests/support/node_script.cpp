#include "tests/support/node_script.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "tests/support/support.hpp"

extern char** environ;

namespace creel::test {
namespace {

constexpr std::chrono::seconds kLongestAnswer{120};

std::string scripts() { return test::source_dir() + "/tests/chain/"; }

// The folder that holds the installed packages; "" with a failed test.
std::string install() {
  FILE* pipe = popen((scripts() + "install.sh").c_str(), "re");
  if (pipe == nullptr) {
    ADD_FAILURE() << "cannot run install.sh";
    return {};
  }
  std::string path;
  for (int c = std::fgetc(pipe); c != EOF && c != '\n'; c = std::fgetc(pipe)) path += static_cast<char>(c);
  const int status = pclose(pipe);
  EXPECT_EQ(status, 0) << "tests/chain/install.sh failed; what it said stands above";
  return status == 0 ? path : std::string{};
}

}  // namespace

NodeScript::NodeScript(const std::string& name) : ready_(nlohmann::json::object()) {
  const std::string packages = install();
  if (packages.empty()) return;
  std::array<int, 2> in{}, out{};
  if (pipe2(in.data(), O_CLOEXEC) != 0 || pipe2(out.data(), O_CLOEXEC) != 0) {
    ADD_FAILURE() << "no pipes";
    return;
  }
  const std::string script = scripts() + name;
  const std::string modules = "NODE_PATH=" + packages + "/node_modules";
  // env finds node wherever it is; it is replaced by it, so the process is node's.
  std::array<const char*, 5> arguments{"env", modules.c_str(), "node", script.c_str(), nullptr};
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, in[0], 0);
  posix_spawn_file_actions_adddup2(&files, out[1], 1);
  const int failed = posix_spawnp(&pid_, "env", &files, nullptr, const_cast<char* const*>(arguments.data()), environ);
  posix_spawn_file_actions_destroy(&files);
  close(in[0]);
  close(out[1]);
  in_ = in[1];
  out_ = out[0];
  if (failed != 0) {
    pid_ = 0;
    ADD_FAILURE() << "cannot run node";
    return;
  }
  ready_ = read_answer();
}

NodeScript::~NodeScript() {
  if (in_ >= 0) close(in_);
  // Its end of the pipe closes with it.
  std::array<char, 4096> rest;
  if (out_ >= 0)
    while (read(out_, rest.data(), rest.size()) > 0) {
    }
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
  if (out_ >= 0) close(out_);
}

nlohmann::json NodeScript::ask(const std::string& operation, nlohmann::json arguments) {
  if (pid_ == 0) return nlohmann::json::object();
  arguments["op"] = operation;
  const std::string line = arguments.dump() + "\n";
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t count = write(in_, line.data() + sent, line.size() - sent);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      ADD_FAILURE() << operation << ": the script has ended";
      return nlohmann::json::object();
    }
    sent += static_cast<std::size_t>(count);
  }
  return read_answer();
}

nlohmann::json NodeScript::read_answer() {
  const auto end = std::chrono::steady_clock::now() + kLongestAnswer;
  for (;;) {
    if (const auto newline = unread_.find('\n'); newline != std::string::npos) {
      const std::string line = unread_.substr(0, newline);
      unread_.erase(0, newline + 1);
      auto answer = nlohmann::json::parse(line, nullptr, false);
      if (answer.is_object() && !answer.contains("error")) return answer;
      ADD_FAILURE() << "the script answered " << line;
      return nlohmann::json::object();
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd waiting{out_, POLLIN, 0};
    if (left <= 0 || poll(&waiting, 1, static_cast<int>(left)) == 0) {
      ADD_FAILURE() << "the script did not answer";
      return nlohmann::json::object();
    }
    std::array<char, 4096> piece;
    const ssize_t count = read(out_, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      ADD_FAILURE() << "the script has ended";
      return nlohmann::json::object();
    }
    unread_.append(piece.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace creel::test
