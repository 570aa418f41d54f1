// contract_server: real `creel serve` processes for tests that are not C++. One JSON object a line on standard input,
// one answer a line on standard output; all that was started ends, and all that it left is cleared away, with the
// input.
//
//   {"do": "start", "name": N, "env": {…}}           -> {"url", "controller", "database", "state"}
//   {"do": "user", "name": N, "email", "plan", "subscription", "admin"}  -> {"key"}
//   {"do": "run", "name": N, "arguments": […], "input"}  -> {"code", "out", "err"}: `creel …` beside that server
//   {"do": "stop" | "log", "name": N}                -> {"code"} | {"log"}
//
// Errors: {"error": "…"}; the program goes on.
#include <iostream>
#include <map>

#include "tests/support/creel_process.hpp"

namespace {

using creel::test::CreelProcess;
using nlohmann::json;

std::map<std::string, std::unique_ptr<CreelProcess>> g_servers;

json carry_out(const json& command) {
  const std::string what = command.at("do"), name = command.at("name");
  if (what == "start") {
    auto& server = g_servers[name];
    server = std::make_unique<CreelProcess>(command.value("env", CreelProcess::Env{}));
    server->start();
    return {{"url", server->url()},
            {"controller", server->controller()},
            {"database", "creel_" + server->controller()},
            {"state", server->state().string()}};
  }
  CreelProcess& server = *g_servers.at(name);
  if (what == "user")
    return {{"key", server.user(command.at("email"), command.value("plan", "enterprise"),
                                command.value("subscription", "active"), command.value("admin", false))}};
  if (what == "run") {
    const auto done = server.run(command.at("arguments"), command.value("input", ""));
    return {{"code", done.code}, {"out", done.out}, {"err", done.err}};
  }
  if (what == "stop") return {{"code", server.stop()}};
  if (what == "log") return {{"log", server.log()}};
  return {{"error", "unknown command " + what}};
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    json answer;
    try {
      answer = carry_out(json::parse(line));
    } catch (const std::exception& error) {
      answer = {{"error", error.what()}};
    }
    std::cout << answer.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
  }
}
