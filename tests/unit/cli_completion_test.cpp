// Shell completion: what can stand in a place, and the scripts in the shells themselves.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "controller/cli/cli.hpp"
#include "tests/support/binary.hpp"
#include "tests/support/support.hpp"
#include "tests/unit/gateway_fake_server.hpp"

namespace creel::cli {
namespace {

namespace fs = std::filesystem;
using test::ClosedPort;
using test::FakeServer;
using test::http_answer;

using Words = std::vector<std::string>;

class CompletionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "creel-completion-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    environment_ = {{"CREEL_STATE_DIR", folder_},
                    {"CREEL_SHARE_DIR", test::source_dir()},
                    {"CREEL_API_KEY", "sk_test"},
                    {"CREEL_URL", "http://" + server_.address()}};
  }
  void TearDown() override { fs::remove_all(folder_); }

  // What creel says can stand in the place of the last word, without what it is.
  Words completed(Words words) {
    words.insert(words.begin(), "__complete");
    std::istringstream in;
    std::ostringstream out, err;
    EXPECT_EQ(run(words, environment_, Io{in, out, err}, [](const Config&) { return 7; }), 0);
    EXPECT_EQ(err.str(), "");
    Words values;
    std::istringstream lines{out.str()};
    for (std::string line; std::getline(lines, line);) values.push_back(line.substr(0, line.find('\t')));
    return values;
  }

  // What a script prints; its error output too.
  std::string run_script(const std::string& shell, const std::string& script) {
    const std::string file = folder_ + "/script";
    std::ofstream{file} << script;
    std::string command = "cd '" + folder_ + "'; env -i PATH=/usr/bin:/bin HOME='" + folder_ + "' LC_ALL=C.UTF-8";
    for (const auto& [name, value] : environment_) command += " " + name + "='" + value + "'";
    command += " " + shell + " '" + file + "' 2>&1";
    FILE* pipe = popen(command.c_str(), "r");
    std::string printed;
    std::array<char, 4096> piece{};
    for (std::size_t n; (n = fread(piece.data(), 1, piece.size(), pipe)) > 0;) printed.append(piece.data(), n);
    EXPECT_EQ(pclose(pipe), 0) << printed;
    return printed;
  }
  // COMPREPLY of bash for a line that ends where the cursor is; `words` as bash cuts it.
  std::string in_bash(const Words& words) {
    std::string list;
    for (const auto& word : words) list += " '" + word + "'";
    return run_script("bash", "compopt() { options+=\" $*\"; }\nsource <('" + test::creel_binary() +
                                  "' completion bash)\nCOMP_WORDS=('" + test::creel_binary() + "'" + list +
                                  ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
                                  "spec=$(complete -p creel)\n[[ $spec == *'-F _creel creel' ]] || echo \"$spec\"\n"
                                  "_creel \"${COMP_WORDS[0]}\"\necho \"${COMPREPLY[*]}$options\"\n");
  }

  FakeServer server_{[](const std::string&) {
    return http_answer(200, R"({"agents":[{"id":"00000000000000aa","name":"demo","phase":"Ready"},
      {"id":"00000000000000ab","name":"two words","phase":"Failed"},{"id":"00000000000000ac","name":"same","phase":"Ready"},
      {"id":"00000000000000ad","name":"same","phase":"Ready"}]})");
  }};
  std::string folder_;
  config::Environment environment_;
};

TEST_F(CompletionTest, KnowsCommandsAndTheirCommands) {
  EXPECT_EQ(completed({"prov"}), Words{"provision"});
  EXPECT_EQ(completed({"agents", "sta"}), (Words{"start", "stats"}));
  EXPECT_EQ(completed({"nonsense", ""}), Words{});
  const Words all = completed({""});
  for (const char* name : {"serve", "agents", "provision", "events", "completion", "user"})
    EXPECT_EQ(std::count(all.begin(), all.end(), name), 1) << name;
  EXPECT_EQ(std::count(all.begin(), all.end(), "__complete"), 0);
}

TEST_F(CompletionTest, KnowsTheOptionsOfACommandAndThoseThatStandEverywhere) {
  const Words shown = completed({"agents", "show", "-"});
  for (const char* name : {"--watch", "-w", "--json", "--color", "--help"})
    EXPECT_EQ(std::count(shown.begin(), shown.end(), name), 1) << name;
  EXPECT_EQ(std::count(shown.begin(), shown.end(), "--state-dir"), 0) << "a setting";
  EXPECT_EQ(completed({"serve", "--state"}), Words{"--state-dir"});
  EXPECT_EQ(completed({"agents", "set-credential", "demo", "openai", "--fr"}), Words{"--from"});  // of a group
}

TEST_F(CompletionTest, KnowsTheValuesOfOptionsAndWhichAreFiles) {
  EXPECT_EQ(completed({"--color", ""}), (Words{"auto", "always", "never"}));
  EXPECT_EQ(completed({"agents", "list", "--color=a"}), (Words{"--color=auto", "--color=always"}));
  EXPECT_EQ(completed({"agents", "list", "--color", "=", "n"}), Words{"never"});  // as bash gives it
  EXPECT_EQ(completed({"agents", "list", "--color", "="}), (Words{"auto", "always", "never"}));
  EXPECT_EQ(completed({"completion", ""}), (Words{"bash", "zsh", "fish"}));
  EXPECT_EQ(completed({"agents", "set-credential", "demo", "whatsapp_p"}), Words{"whatsapp_phone_number_id"});
  EXPECT_EQ(completed({"--config", ""}), Words{":files"});
  EXPECT_EQ(completed({"provision", "--telegram-token", ""}), Words{":files"});
  EXPECT_EQ(completed({"provision", "--name", ""}), Words{});
}

TEST_F(CompletionTest, AsksForAgentsByNameAndById) {
  // A name that would have to be quoted, and one that two have, are no help.
  EXPECT_EQ(completed({"agents", "show", ""}),
            (Words{"demo", "00000000000000ab", "00000000000000ac", "00000000000000ad"}));
  EXPECT_EQ(completed({"agents", "show", "d"}), Words{"demo"});
  EXPECT_EQ(completed({"chat", "00000000000000aa"}), Words{"00000000000000aa"});
  EXPECT_EQ(completed({"agents", "show", "--json", "-w", "de"}), Words{"demo"});
  EXPECT_EQ(completed({"agents", "logs", "--level", "warn", "de"}), Words{"demo"});
  EXPECT_EQ(completed({"agents", "show", "demo", ""}), Words{});  // there is one ID
  EXPECT_NE(server_.requests().at(0).find("uthorization: Bearer sk_test\r\n"), std::string::npos);
}

TEST_F(CompletionTest, TakesTheSettingsThatWereTypedAndSaysNothingOfAControllerThatIsAway) {
  const ClosedPort away;
  const std::string there = environment_["CREEL_URL"];
  environment_["CREEL_URL"] = "http://" + away.address();
  EXPECT_EQ(completed({"agents", "show", ""}), Words{});
  EXPECT_EQ(completed({"--url", there, "agents", "show", "d"}), Words{"demo"});
  environment_["CREEL_LISTEN"] = "not an address";
  EXPECT_EQ(completed({"agents", "show", ""}), Words{});
  EXPECT_EQ(completed({"agents", "sh"}), Words{"show"});
}

TEST_F(CompletionTest, WorksInBash) {
  EXPECT_EQ(in_bash({"prov"}), "provision\n");
  EXPECT_EQ(in_bash({"agents", "sta"}), "start stats\n");
  EXPECT_EQ(in_bash({"agents", "show", ""}), "demo 00000000000000ab 00000000000000ac 00000000000000ad\n");
  EXPECT_EQ(in_bash({"agents", "show", "--wa"}), "--watch\n");
  EXPECT_EQ(in_bash({"agents", "list", "--color", "=", "al"}), "always\n");
  EXPECT_EQ(in_bash({"--config", ""}), " -o default\n");
  EXPECT_EQ(in_bash({"nonsense", ""}), "\n");
}

TEST_F(CompletionTest, WorksInZsh) {
  const std::string load = "source <('" + test::creel_binary() + "' completion zsh)\n";
  EXPECT_EQ(run_script("zsh -f -n", load), "");
  std::ofstream{folder_ + "/_creel"} << run_script("bash", "'" + test::creel_binary() + "' completion zsh");
  EXPECT_EQ(run_script("zsh -f -n", "") + run_script("zsh -f", "zsh -f -n _creel"), "");
  // The functions of the completion system stand in for it: it works only in a terminal.
  const std::string system = "compdef() { }\n_describe() { print -l -- ${(P)3} }\n_files() { print files }\n" + load;
  const auto ask = [&](const std::string& line) {
    return run_script(
        "zsh -f", system + "words=('" + test::creel_binary() + "' " + line + ")\nCURRENT=${#words}\n_creel\ntrue\n");
  };
  EXPECT_EQ(ask("prov"), "provision:make an agent\n");
  EXPECT_EQ(ask("agents show d"), "demo:00000000000000aa Ready\n");
  EXPECT_EQ(ask("agents show ''"),
            "demo:00000000000000aa Ready\n00000000000000ab:two words Failed\n"
            "00000000000000ac:same Ready\n00000000000000ad:same Ready\n");
  EXPECT_EQ(ask("--config ''"), "files\n");
  EXPECT_EQ(ask("nonsense ''"), "");
}

TEST_F(CompletionTest, WorksInFish) {
  std::ofstream{folder_ + "/creel.fish"} << run_script("bash", "'" + test::creel_binary() + "' completion fish");
  EXPECT_EQ(run_script("bash", "fish -n creel.fish"), "");
  fs::create_symlink(test::creel_binary(), folder_ + "/creel");
  const auto ask = [&](const std::string& line) {
    return run_script("fish", "set PATH " + folder_ + " $PATH\nsource creel.fish\ncomplete -C '" + line + "'\n");
  };
  EXPECT_EQ(ask("creel prov"), "provision\tmake an agent\n");
  EXPECT_EQ(ask("creel agents show d"), "demo\t00000000000000aa Ready\n");
  EXPECT_EQ(ask("creel agents list --color="), "--color=auto\n--color=always\n--color=never\n");
  EXPECT_EQ(ask("creel nonsense "), "");
}

}  // namespace
}  // namespace creel::cli
