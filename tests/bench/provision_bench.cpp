// provision_bench: what Creel adds to the engine's own work.
//
// Serially and in turn, N times each (default 20): "POST /api/agents/provision until the container was observed
// running", and the engine's own create + start of the same container through its raw API. Prints both medians and
// their ratio, then the controller's resident memory with 50 agents.
//
//   CREEL_TEST_DATABASE_URL=… CREEL_TEST_WORK=… DOCKER_HOST=… provision_bench [N]      (./test.sh --all sets these)
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/creel_process.hpp"

namespace {

using creel::test::Answer;
using creel::test::CreelProcess;
using nlohmann::json;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <class F>
double milliseconds_of(F&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

int fail(const std::string& what, const Answer& answer) {
  std::fprintf(stderr, "provision_bench: %s: %d %s\n", what.c_str(), answer.status, answer.text.c_str());
  return 1;
}

long resident_kib(pid_t pid) {
  std::ifstream status{"/proc/" + std::to_string(pid) + "/status"};
  std::string line;
  while (std::getline(status, line))
    if (line.starts_with("VmRSS:")) return std::stol(line.substr(6));
  return -1;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::stoi(argv[1]) : 20;
  CreelProcess creel;
  creel.start();
  const std::string key = creel.user("bench@example.com", "enterprise");

  const Answer model = creel.call("POST", "/api/agents/provision", key, {{"name", "model"}});
  if (model.status != 201 || model.json["agent"]["status"] != "running") return fail("provision", model);
  const json pattern = creel.engine().container(model.json["agent"]["id"]);

  std::vector<double> through_creel, through_engine;
  for (int i = 0; i < rounds; ++i) {
    Answer made;
    through_creel.push_back(milliseconds_of([&] {
      made = creel.call("POST", "/api/agents/provision", key, {{"name", "bench-" + std::to_string(i)}});
    }));
    if (made.status != 201 || made.json["agent"]["status"] != "running") return fail("provision", made);

    const std::string name = creel.controller() + "-raw-" + std::to_string(i);
    json body = pattern["Config"];
    body.erase("Hostname");
    body["HostConfig"] = pattern["HostConfig"];
    for (auto& mount : body["HostConfig"]["Mounts"]) mount["Source"] = name;
    // Labelled as this controller's but for no agent: swept away with the rest, and nobody's workload.
    body["Labels"] = {{"dev.creel.controller", creel.controller()}};
    Answer created, started;
    through_engine.push_back(milliseconds_of([&] {
      created = creel.engine().call("POST", "/containers/create?name=" + name, body);
      started = creel.engine().call("POST", "/containers/" + name + "/start");
    }));
    if (created.status != 201) return fail("engine create", created);
    if (started.status != 204) return fail("engine start", started);
    creel.engine().call("DELETE", "/containers/" + name + "?force=1");
    creel.engine().call("DELETE", "/volumes/" + name);
  }
  const double ours = median(through_creel), theirs = median(through_engine);
  std::printf(
      "provision: API call to container running p50 %.0f ms; engine create + start p50 %.0f ms; ratio %.2f (%d each)\n",
      ours, theirs, ours / theirs, rounds);

  for (int i = rounds + 1; i < 50; ++i) {
    const Answer made = creel.call("POST", "/api/agents/provision", key, {{"name", "more-" + std::to_string(i)}});
    if (made.status != 201) return fail("provision", made);
  }
  const long agents = creel.call("GET", "/api/agents", key).json["count"];
  std::printf("memory: controller resident %.1f MB with %ld agents\n",
              static_cast<double>(resident_kib(creel.pid())) / 1024.0, agents);
  return 0;
}
