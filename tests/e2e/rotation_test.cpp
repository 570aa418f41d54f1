// `creel secrets rotate` while two controllers serve, agents run and owners write.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <thread>

#include "controller/core/ids.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/master_key.hpp"
#include "controller/store/pg.hpp"
#include "tests/support/creel_process.hpp"
#include "tests/support/support.hpp"

namespace creel::test {
namespace {

using nlohmann::json;
using secrets::Sealer;

// Sealed rows by agent and name.
using Rows = std::map<std::pair<std::string, std::string>, secrets::Sealed>;

class Rotation : public testing::Test {
 protected:
  void SetUp() override {
    a.start();
    b.start();
    key = a.user("owner@example.com", "enterprise");
    for (int i = 0; i < 3; ++i) {
      const Answer made = a.call("POST", "/api/agents/provision", key, {{"name", "agent " + std::to_string(i)}});
      ASSERT_EQ(made.status, 201) << made.text;
      agents.push_back(made.json["agent"]["id"]);
    }
    for (const auto& id : agents)
      a.until("/api/agents/" + id, key, [](const Answer& got) { return got.json["agent"]["phase"] == "Ready"; });
  }

  std::string key_file() const { return (a.state() / "master.key").string(); }
  std::string first_line() {
    std::ifstream file{key_file()};
    std::string line;
    std::getline(file, line);
    return line;
  }
  Rows rows() {
    auto database = store::Database::open(a.conninfo(), 1).value();
    auto tx = database->begin().value();
    const auto found = tx.exec("SELECT agent_id, name, key_id, nonce, ciphertext FROM agent_secrets").value();
    Rows all;
    for (int i = 0; i < found.size(); ++i)
      all[{found[i].text("agent_id"), found[i].text("name")}] = {found[i].text("key_id"), found[i].bytes("nonce"),
                                                                 found[i].bytes("ciphertext")};
    return all;
  }
  std::map<std::string, std::string> runs() {
    std::map<std::string, std::string> started;
    for (const auto& id : agents) started[id] = a.engine().container(id)["State"]["StartedAt"];
    return started;
  }
  json status() {
    const Finished done = a.run({"secrets", "status", "--json"});
    EXPECT_EQ(done.code, 0) << done.err;
    return json::parse(done.out, nullptr, false);
  }

  // Configurations and credentials through both controllers, each of which must be taken.
  void write_through(CreelProcess& replica, const std::string& agent, std::stop_token stop) {
    for (int n = 1; !stop.stop_requested(); ++n) {
      const std::string value = "value-" + std::to_string(n) + "-" + random_hex(8);
      const Answer config = replica.call("PUT", "/api/agents/" + agent + "/config", key, {{"note", value}});
      const Answer credential =
          replica.call("POST", "/api/agent", key,
                       {{"action", "set-credential"}, {"agentId", agent}, {"key", "groq"}, {"value", value}});
      if (config.status != 200 || credential.status != 200) {
        ++refused;
        std::cout << config.text << credential.text << "\n";
        continue;
      }
      ++taken;
      last[agent] = value;  // each agent has one writer
    }
  }

  CreelProcess a;
  CreelProcess b{{{"DATABASE_URL", a.conninfo()},
                  {"CREEL_CONTROLLER_ID", a.controller()},
                  {"CREEL_MASTER_KEY_FILE", (a.state() / "master.key").string()}}};
  std::string key;
  std::vector<std::string> agents;
  std::map<std::string, std::string> last;
  std::atomic<int> taken{0}, refused{0};
};

TEST_F(Rotation, SealsEverythingAnewWhileBothControllersWriteAndIsKilledAgainAndAgain) {
  // Of the text alone: one that knows the file would read it again.
  const Sealer old = Sealer::from_base64(first_line()).value();
  const Rows before = rows();
  const auto started = runs();
  for (const auto& id : agents) last[id] = "";
  int killed = 0, attempts = 0;
  {
    std::jthread one{[this](std::stop_token stop) { write_through(a, agents[0], std::move(stop)); }};
    std::jthread two{[this](std::stop_token stop) { write_through(b, agents[1], std::move(stop)); }};
    // Killed at any point of its way, which takes some seconds; each time another one goes on.
    std::mt19937 random{std::random_device{}()};
    Finished done{1, "", ""};
    for (; attempts < 10 && done.code != 0; ++attempts) {
      const std::chrono::milliseconds after{20 + random() % 2'500};
      done = a.run_and_kill({"secrets", "rotate"}, after);
      if (done.code == 0) break;
      ++killed;
      std::cout << "killed after " << after.count()
                << " ms, having said: " << done.err.substr(0, done.err.rfind('\n') + 1);
    }
    if (done.code != 0) done = a.run({"secrets", "rotate"});
    EXPECT_EQ(done.code, 0) << done.out << done.err << status().dump(2);
  }
  const Sealer now = Sealer::load_or_create(key_file()).value();
  ASSERT_EQ(now.key_ids().size(), 1u);
  EXPECT_NE(now.key_id(), old.key_id());
  EXPECT_GT(taken, 0);
  EXPECT_EQ(refused, 0);

  // Each value changed, none opens with the old key, all open with the new one and say what they said.
  const Rows after = rows();
  int same = 0;
  for (const auto& [place, sealed] : after) {
    const std::string context = secrets::secret_context(place.first, place.second);
    EXPECT_EQ(sealed.key_id, now.key_id()) << place.second;
    EXPECT_FALSE(old.open(sealed, context)) << place.second;
    const auto plain = now.open(sealed, context);
    ASSERT_TRUE(plain) << place.second << ": " << plain.error().message;
    const auto earlier = before.find(place);
    if (earlier == before.end()) continue;
    EXPECT_NE(earlier->second.ciphertext, sealed.ciphertext) << place.second;
    const bool written = place.second == "files" || place.second == "files_taken";  // meanwhile
    if (written && place.first != agents[2]) continue;
    EXPECT_EQ(old.open(earlier->second, context).value(), *plain) << place.second;
    ++same;
  }
  for (const auto& [place, sealed] : before) EXPECT_TRUE(after.contains(place)) << place.second;
  const std::string dump = [&] {
    const std::string file = (a.state() / "dump").string();
    EXPECT_EQ(std::system(("pg_dump -d '" + a.conninfo() + "' > " + file).c_str()), 0);
    std::ifstream in{file};
    return std::string{std::istreambuf_iterator<char>{in}, {}};
  }();
  for (const auto& [place, sealed] : after) EXPECT_NE(dump.find(to_hex(sealed.ciphertext)), std::string::npos);
  for (const auto& [place, sealed] : before)
    EXPECT_EQ(dump.find(to_hex(sealed.ciphertext)), std::string::npos) << place.second;

  // Every write that was taken is there, agents ran on, and the state is settled.
  for (const std::string& id : {agents[0], agents[1]}) {
    ASSERT_NE(last[id], "");
    for (CreelProcess* replica : {&a, &b})
      EXPECT_EQ(replica->call("GET", "/api/agents/" + id + "/config", key).json["config"]["note"], last[id]);
    const auto groq = after.at({id, "groq"});
    EXPECT_EQ(now.open(groq, secrets::secret_context(id, "groq")).value(), last[id]);
  }
  EXPECT_EQ(runs(), started) << "no agent was restarted";
  EXPECT_EQ(status()["finished"], true) << status().dump(2);
  EXPECT_EQ(status()["keys"].size(), 1u);
  EXPECT_EQ(status()["controllers"].size(), 2u);
  const Finished doctor = a.run({"doctor"});
  EXPECT_NE(doctor.out.find("fits the master key"), std::string::npos) << doctor.out;

  // The next controller with the old key is refused, one with the new key serves; a change restarts nobody.
  const std::string kept = key_file() + ".old-" + old.key_id();
  EXPECT_EQ(Sealer::load_or_create(kept).value().key_id(), old.key_id()) << "for backups from before";
  CreelProcess late{
      {{"DATABASE_URL", a.conninfo()}, {"CREEL_CONTROLLER_ID", a.controller()}, {"CREEL_MASTER_KEY_FILE", kept}}};
  const Finished wrong = late.run({"serve"});
  EXPECT_NE(wrong.code, 0);
  EXPECT_NE((wrong.err + wrong.out).find("another master key"), std::string::npos) << wrong.err << wrong.out;
  b.stop();
  b.start();
  EXPECT_EQ(b.call("PUT", "/api/agents/" + agents[2] + "/config", key, {{"model", "after"}}).status, 200);
  b.until("/api/agents/" + agents[2], key,
          [](const Answer& got) { return got.json["agent"]["observedGeneration"] == got.json["agent"]["generation"]; });
  EXPECT_EQ(runs(), started) << "hashes of files are what they were";
  std::cout << "rotation: killed " << killed << " times, " << taken << " pairs of writes taken, " << refused
            << " refused, " << after.size() << " values sealed anew, " << same << " compared\n";
}

TEST_F(Rotation, GoesOnFromEveryStepAtWhichItMayHaveStopped) {
  auto database = store::Database::open(a.conninfo(), 1).value();
  const auto in_transaction = [&](auto work) {
    auto tx = database->begin().value();
    work(tx);
    ASSERT_TRUE(tx.commit());
  };
  enum Step { key_made, switched, some_sealed, all_sealed, retired, last_step = retired };
  for (int step = key_made; step <= last_step; ++step) {
    SCOPED_TRACE(step);
    const std::string old = Sealer::from_base64(first_line())->key_id();
    ASSERT_TRUE(secrets::add_master_key(key_file()));
    Sealer sealer = Sealer::load_or_create(key_file()).value();
    const std::string wanted = sealer.key_ids()[0];
    in_transaction([&](store::Tx& tx) { ASSERT_TRUE(store::check_master_key(tx, sealer)); });
    if (step >= switched)
      in_transaction([&](store::Tx& tx) { ASSERT_TRUE(store::switch_master_key(tx, sealer, wanted)); });
    if (step >= some_sealed) in_transaction([&](store::Tx& tx) { ASSERT_EQ(store::reseal(tx, sealer, 2).value(), 2); });
    if (step >= all_sealed) in_transaction([&](store::Tx& tx) { ASSERT_TRUE(store::reseal(tx, sealer, 1'000)); });
    if (step >= retired)
      in_transaction([&](store::Tx& tx) { ASSERT_TRUE(store::retire_master_keys(tx, wanted).value()); });
    for (CreelProcess* replica : {&a, &b})
      EXPECT_EQ(replica->call("GET", "/api/instance/" + agents[0] + "/token", key).status, 200) << "read meanwhile";
    EXPECT_EQ(status()["finished"], step >= retired);
    EXPECT_EQ(a.run({"doctor"}).out.find("creel secrets rotate") == std::string::npos, step >= retired);

    const Finished done = a.run({"secrets", "rotate"});
    ASSERT_EQ(done.code, 0) << done.err;
    EXPECT_EQ(Sealer::from_base64(first_line())->key_id(), wanted) << "the key that was made is the one";
    EXPECT_EQ(Sealer::load_or_create(key_file())->key_ids().size(), 1u);
    EXPECT_TRUE(std::filesystem::exists(key_file() + ".old-" + old));
    for (const auto& [place, sealed] : rows()) EXPECT_EQ(sealed.key_id, wanted) << place.second;
    for (CreelProcess* replica : {&a, &b})
      EXPECT_EQ(replica->call("GET", "/api/instance/" + agents[0] + "/token", key).status, 200);
  }
}

TEST_F(Rotation, OfAKeyInTheEnvironmentWaitsForTheControllerThatDoesNotHoldIt) {
  const std::string old = first_line(), wanted = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
  const std::string new_id = Sealer::from_base64(wanted)->key_id();
  a.set("CREEL_MASTER_KEY", old);
  const Finished nothing = a.run({"secrets", "rotate"});
  EXPECT_NE(nothing.code, 0);
  EXPECT_NE(nothing.err.find("CREEL_MASTER_KEY_PREVIOUS"), std::string::npos) << nothing.err;

  a.set("CREEL_MASTER_KEY", wanted);
  a.set("CREEL_MASTER_KEY_PREVIOUS", old);
  a.stop();
  a.start();
  const Finished early = a.run({"secrets", "rotate", "--wait", "3"});
  EXPECT_NE(early.code, 0);
  EXPECT_NE(early.err.find("process " + std::to_string(b.pid())), std::string::npos)
      << "it names the other: " << early.err;
  EXPECT_EQ(early.err.find("process " + std::to_string(a.pid())), std::string::npos) << early.err;
  for (const auto& [place, sealed] : rows()) EXPECT_NE(sealed.key_id, new_id);
  const Finished doctor = a.run({"doctor"});
  EXPECT_NE(doctor.out.find("creel secrets rotate"), std::string::npos) << doctor.out;
  EXPECT_EQ(b.call("PUT", "/api/agents/" + agents[0] + "/config", key, {{"model", "x"}}).status, 200);

  b.set("CREEL_MASTER_KEY", wanted);
  b.set("CREEL_MASTER_KEY_PREVIOUS", old);
  b.stop();
  b.start();
  const Finished done = a.run({"secrets", "rotate"});
  ASSERT_EQ(done.code, 0) << done.err;
  for (const auto& [place, sealed] : rows()) EXPECT_EQ(sealed.key_id, new_id) << place.second;
  // Without the old key from now on.
  for (CreelProcess* replica : {&a, &b}) {
    replica->set("CREEL_MASTER_KEY_PREVIOUS", "");
    replica->stop();
    replica->start();
    EXPECT_EQ(replica->call("GET", "/api/agents/" + agents[0] + "/config", key).json["config"]["model"], "x");
  }
  EXPECT_NE(a.run({"doctor"}).out.find("fits the master key"), std::string::npos);
}

// The half of a rotation, as one that was killed leaves it: the new key seals, two values are under it.
std::string half_rotated(const std::string& file, const std::string& conninfo) {
  EXPECT_TRUE(secrets::add_master_key(file));
  Sealer sealer = Sealer::load_or_create(file).value();
  const std::string wanted = sealer.key_ids()[0];
  auto database = store::Database::open(conninfo, 1).value();
  auto tx = database->begin().value();
  EXPECT_TRUE(store::check_master_key(tx, sealer));
  EXPECT_TRUE(store::switch_master_key(tx, sealer, wanted));
  EXPECT_EQ(store::reseal(tx, sealer, 2).value(), 2);
  EXPECT_TRUE(tx.commit());
  return wanted;
}

TEST_F(Rotation, IsRefusedAndLosesNothingWhileTheNewKeyIsLostOrDamaged) {
  const std::string old_line = first_line(), old = Sealer::from_base64(old_line)->key_id();
  const std::string wanted = half_rotated(key_file(), a.conninfo());
  // Both have taken the new key over.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{60};
  const auto settled = [&] {
    const json controllers = status()["controllers"];
    if (controllers.size() != 2) return false;
    for (const auto& controller : controllers)
      if (controller["seals"] != wanted) return false;
    return true;
  };
  while (!settled() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds{100});  // polls other processes
  const std::string saved = key_file() + ".saved";
  std::filesystem::rename(key_file(), saved);
  const Rows before = rows();
  const auto put = [&](const std::string& text) {
    std::ofstream{key_file()} << text;
    std::filesystem::permissions(key_file(), std::filesystem::perms{0600});
  };
  CreelProcess late{
      {{"DATABASE_URL", a.conninfo()}, {"CREEL_CONTROLLER_ID", a.controller()}, {"CREEL_MASTER_KEY_FILE", key_file()}}};
  const std::string other = "HxAREhMUFRYXGBkaGxwdHgABAgMEBQYHCAkKCwwNDg8=";
  const std::tuple<const char*, std::string, std::string> cases[] = {
      {"the old key alone", old_line + "\n", wanted},
      {"another key", other + "\n" + old_line + "\n", wanted},
      {"no key", old_line + "\nnot a key\n", "not 32 bytes in base64"}};
  for (const auto& [name, text, said] : cases) {
    SCOPED_TRACE(name);
    put(text);
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"secrets", "rotate"}, {"secrets", "status"}}) {
      const Finished refused = a.run(command);
      EXPECT_NE(refused.code, 0);
      EXPECT_NE(refused.err.find(said), std::string::npos) << refused.err;
      EXPECT_NE(refused.err.find("put the right"), std::string::npos) << refused.err;
    }
    const Finished serve = late.run({"serve"});
    EXPECT_NE(serve.code, 0);
    EXPECT_NE((serve.out + serve.err).find(said), std::string::npos) << serve.out << serve.err;
    EXPECT_NE(a.run({"doctor"}).out.find(said), std::string::npos);
    EXPECT_EQ(rows(), before);
    std::ifstream file{key_file()};
    EXPECT_EQ((std::string{std::istreambuf_iterator<char>{file}, {}}), text) << "nothing was made over it";
  }
  // With no file at all the same is said, by commands that make none.
  std::filesystem::remove(key_file());
  const Finished none = a.run({"secrets", "rotate"});
  EXPECT_NE(none.code, 0);
  EXPECT_NE(none.err.find("there is no master key at " + key_file()), std::string::npos) << none.err;
  const std::string doctor = a.run({"doctor"}).out;
  EXPECT_NE(doctor.find("sealed with the master key " + wanted + ", which is not there"), std::string::npos) << doctor;
  EXPECT_FALSE(std::filesystem::exists(key_file()));
  // Controllers that have read the keys go on, with values under either of them.
  for (const std::string& id : agents)
    for (CreelProcess* replica : {&a, &b}) {
      EXPECT_EQ(replica->call("PUT", "/api/agents/" + id + "/config", key, {{"note", "lost"}}).status, 200)
          << replica->log();
      EXPECT_EQ(replica->call("GET", "/api/instance/" + id + "/token", key).status, 200);
    }

  std::filesystem::rename(saved, key_file());
  const Finished done = a.run({"secrets", "rotate"});
  ASSERT_EQ(done.code, 0) << done.err;
  const Sealer now = Sealer::load_or_create(key_file()).value();
  EXPECT_EQ(now.key_ids(), std::vector<std::string>{wanted});
  for (const auto& [place, sealed] : rows())
    EXPECT_TRUE(now.open(sealed, secrets::secret_context(place.first, place.second))) << place.second;
}

TEST_F(Rotation, EndsAControllerThatMissedItWhichSaysSoAndServesAgainWithTheKey) {
  const std::string own = (b.state() / "own.key").string();
  std::filesystem::copy_file(key_file(), own);
  b.set("CREEL_MASTER_KEY_FILE", own);
  b.stop();
  b.start();
  const auto started = runs();
  // It hangs for longer than anybody waits for it.
  ASSERT_EQ(kill(b.pid(), SIGSTOP), 0);
  const Finished early = a.run({"secrets", "rotate", "--wait", "1"});
  EXPECT_NE(early.code, 0);
  EXPECT_NE(early.err.find("process " + std::to_string(b.pid())), std::string::npos) << early.err;
  Finished done = a.run({"secrets", "rotate", "--wait", "120"});
  ASSERT_EQ(done.code, 0) << done.err;
  const std::string now = Sealer::from_base64(first_line())->key_id();
  const Rows before = rows();

  ASSERT_EQ(kill(b.pid(), SIGCONT), 0);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{60};
  while (b.running() && std::chrono::steady_clock::now() < deadline) {
    // Until it has noticed it is told that nothing of its can be stored.
    const Answer refused = b.call("PUT", "/api/agents/" + agents[0] + "/config", key, {{"note", "under the old key"}});
    EXPECT_NE(refused.status, 200) << refused.text;
    std::this_thread::sleep_for(std::chrono::milliseconds{50});  // polls another process
  }
  EXPECT_FALSE(b.running());
  EXPECT_NE(b.log().find("sealed with the master key " + now + ", which this controller does not have"),
            std::string::npos)
      << b.log();
  const Finished again = b.run({"serve"});
  EXPECT_NE(again.code, 0);
  EXPECT_NE(again.err.find("another master key (key id " + now), std::string::npos) << again.err;
  EXPECT_EQ(rows(), before);

  std::filesystem::copy_file(key_file(), own, std::filesystem::copy_options::overwrite_existing);
  b.start();
  for (CreelProcess* replica : {&a, &b})
    EXPECT_EQ(replica->call("GET", "/api/instance/" + agents[0] + "/token", key).status, 200);
  EXPECT_EQ(runs(), started);
}

}  // namespace
}  // namespace creel::test
