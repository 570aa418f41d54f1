#include "reconciler/runtime/docker/strays.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "controller/core/ids.hpp"

namespace creel::docker {
namespace {

const std::string kId(64, 'a');
const std::string kOther(64, 'b');

TEST(Strays, KnowsAContainersControlGroupOfEitherVersionAndAnyParent) {
  EXPECT_EQ(container_in("9:memory:/docker/" + kId + "\n1:cpu:/docker/" + kId + "\n"), kId);
  EXPECT_EQ(container_in("0::/system.slice/docker-" + kId + ".scope\n"), kId);
  EXPECT_EQ(container_in("0::/user.slice\n"), "");
  EXPECT_EQ(container_in("0::/" + kId + "a\n"), "") << "65 digits are something else";
  EXPECT_EQ(container_in(""), "");
}

class StraysTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(proc); }
  void TearDown() override { std::filesystem::remove_all(proc); }
  void process(pid_t pid, const std::string& id, char state, const std::string& mounts = "") {
    const auto folder = proc / std::to_string(pid);
    std::filesystem::create_directories(folder);
    std::ofstream{folder / "cgroup"} << "0::/docker/" << id << "\n";
    std::ofstream{folder / "stat"} << pid << " (a) b) " << state << " 1 1";
    std::ofstream{folder / "mountinfo"} << mounts;
  }

  std::filesystem::path proc = std::filesystem::temp_directory_path() / ("creel-proc-" + random_hex(4));
  Strays strays{proc};
};

TEST_F(StraysTest, FindsTheProcessesOfOneContainerThatHaveNotEnded) {
  process(11, kId, 'S');
  process(12, kId, 'Z');
  process(13, kOther, 'R');
  std::filesystem::create_directories(proc / "self");
  EXPECT_EQ(strays.of(kId, true), (std::vector<pid_t>{11}));
  EXPECT_TRUE(strays.of(std::string(64, 'c'), true).empty());
  EXPECT_TRUE(Strays{"/no/such/folder"}.of(kId, true).empty());
}

TEST_F(StraysTest, FindsWhoHoldsAVolumeAndNotWhoHoldsOneOfThatNameOfAnotherEngine) {
  const auto volume = proc / "mine/volumes/creel-0123456789abcdef/_data";
  const auto namesake = proc / "other/volumes/creel-0123456789abcdef/_data";
  for (const auto& [pid, folder] : std::map<pid_t, std::filesystem::path>{{11, volume}, {13, namesake}}) {
    std::filesystem::create_directories(folder);
    process(pid, pid == 11 ? kId : kOther, 'S', "1 2 8:1 " + folder.string() + " /state rw - ext4 /dev/sda rw\n");
    std::filesystem::create_directories(proc / std::to_string(pid) / "root");
    std::filesystem::create_directory_symlink(folder, proc / std::to_string(pid) / "root/state");
  }
  EXPECT_EQ(strays.holding(volume), (std::set<std::string>{kId}));
  EXPECT_TRUE(strays.holding(proc / "mine/volumes/creel-fedcba9876543210/_data").empty());
}

TEST_F(StraysTest, EndsThemAndSaysWhichItCannotEnd) {
  EXPECT_EQ(strays.end(kId).value(), 0);
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  process(child, kId, 'S');  // a file that stays: as if the process did not go
  const auto ended = strays.end(kId);
  ASSERT_FALSE(ended);
  EXPECT_NE(ended.error().message.find(std::to_string(child)), std::string::npos) << ended.error().message;
  EXPECT_NE(ended.error().message.find("kill -9"), std::string::npos);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

}  // namespace
}  // namespace creel::docker
