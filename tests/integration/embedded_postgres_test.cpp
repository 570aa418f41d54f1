#include "controller/embedded_postgres.hpp"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <latch>
#include <thread>

#include "controller/embedded_postgres_process.hpp"
#include "tests/integration/pg_fixture.hpp"

namespace creel {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::eventually;
using testing::HasSubstr;
using testing::Not;

class EmbeddedPostgresTest : public testing::Test {
 protected:
  // One cluster is made by initdb and copied for each test.
  static void SetUpTestSuite() {
    std::string pattern = (fs::temp_directory_path() / "creel-epg-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    fs::permissions(root_, fs::perms{0755});
    auto first = EmbeddedPostgres::start({.state_dir = root_ / "template"});
    ASSERT_TRUE(first) << first.error().message;
    ASSERT_TRUE((*first)->stop());
  }
  static void TearDownTestSuite() { fs::remove_all(root_); }

  void SetUp() override {
    ASSERT_TRUE(fs::exists(root_ / "template/postgres/data/PG_VERSION"));
    state_ = root_ / ("s" + random_hex(4));
    ASSERT_EQ(std::system(("cp -a " + (root_ / "template").string() + " " + state_.string()).c_str()), 0);
  }
  void TearDown() override {
    // A failed test must not leave a server behind.
    if (const auto left = pid()) ::kill(left, SIGQUIT);
    fs::remove_all(state_);
  }

  fs::path data() const { return state_ / "postgres/data"; }
  Result<std::unique_ptr<EmbeddedPostgres>> start() const { return EmbeddedPostgres::start({.state_dir = state_}); }
  std::unique_ptr<EmbeddedPostgres> started() const {
    auto result = start();
    EXPECT_TRUE(result) << result.error().message;
    return result ? std::move(*result) : nullptr;
  }
  // Of the server that works in the data folder; 0 = none.
  pid_t pid() const {
    pid_t number = 0;
    std::ifstream{data() / "postmaster.pid"} >> number;
    if (number <= 0 || ::kill(number, 0) != 0) return 0;
    std::error_code error;
    return fs::read_symlink("/proc/" + std::to_string(number) + "/cwd", error) == data() ? number : 0;
  }

  // What a controller that is killed leaves running; 0 = it did not come so far.
  pid_t leave_behind() const {
    const pid_t controller = ::fork();
    if (controller == 0) {
      const auto result = start();
      if (result) ::kill(::getpid(), SIGKILL);
      ::_exit(1);
    }
    int status = 0;
    if (::waitpid(controller, &status, 0) != controller || !WIFSIGNALED(status)) return 0;
    return pid();
  }

  static std::int64_t number(store::Database& database, const std::string& sql) {
    auto tx = database.begin().value();
    const auto rows = tx.exec(sql).value();
    return rows[0].integer("n");
  }
  static void execute(store::Database& database, const std::string& sql) {
    auto tx = database.begin().value();
    ASSERT_TRUE(tx.exec(sql));
    ASSERT_TRUE(tx.commit());
  }

  static inline fs::path root_;
  fs::path state_;
};

TEST_F(EmbeddedPostgresTest, KeepsDataFromOneRunToTheNext) {
  for (int run = 1; run <= 2; ++run) {
    const auto postgres = started();
    ASSERT_TRUE(postgres);
    EXPECT_FALSE(postgres->attached());
    {
      auto database = store::Database::open(postgres->conninfo(), 2).value();
      if (run == 1) execute(*database, "CREATE TABLE t AS SELECT 42 AS n");
      EXPECT_EQ(number(*database, "SELECT n FROM t"), 42);
    }
    ASSERT_TRUE(postgres->stop());
    EXPECT_EQ(pid(), 0);
    EXPECT_FALSE(fs::exists(data() / "postmaster.pid"));  // it said goodbye: no recovery at the next start
  }
}

TEST_F(EmbeddedPostgresTest, RunsUnprivilegedInItsOwnSessionBehindAClosedDoor) {
  const auto postgres = started();
  ASSERT_TRUE(postgres);
  const auto server = pid();
  ASSERT_NE(server, 0);
  struct stat process {
  }, folder{};
  ASSERT_EQ(::stat(("/proc/" + std::to_string(server)).c_str(), &process), 0);
  EXPECT_NE(process.st_uid, 0u);
  EXPECT_EQ(::getsid(server), server);
  ASSERT_EQ(::stat((state_ / "postgres").c_str(), &folder), 0);
  EXPECT_EQ(folder.st_mode & 0777, 0700u);
  EXPECT_EQ(folder.st_uid, process.st_uid);
  auto database = store::Database::open(postgres->conninfo(), 1).value();
  auto tx = database->begin().value();
  EXPECT_EQ(tx.exec("SHOW listen_addresses").value()[0].text("listen_addresses"), "");
  EXPECT_EQ(tx.exec("SHOW fsync").value()[0].text("fsync"), "on");
  EXPECT_EQ(tx.exec("SHOW data_checksums").value()[0].text("data_checksums"), "on");
}

TEST_F(EmbeddedPostgresTest, IsSharedAndStoppedByWhoLeavesLast) {
  const auto first = started();
  ASSERT_TRUE(first);
  const auto server = pid();
  const auto second = started();
  ASSERT_TRUE(second);
  EXPECT_TRUE(second->attached());
  EXPECT_EQ(second->conninfo(), first->conninfo());
  EXPECT_EQ(pid(), server);
  ASSERT_TRUE(first->stop());
  EXPECT_EQ(pid(), server);
  EXPECT_TRUE(store::Database::open(second->conninfo(), 1));
  ASSERT_TRUE(second->stop());
  EXPECT_EQ(pid(), 0);
}

TEST_F(EmbeddedPostgresTest, IsStartedOnceByManyAtOnce) {
  std::vector<std::unique_ptr<EmbeddedPostgres>> all(4);
  {
    std::latch together{4};
    std::vector<std::jthread> threads;
    for (auto& one : all) {
      threads.emplace_back([&] {
        together.arrive_and_wait();
        one = started();
      });
    }
  }
  EXPECT_THAT(all, testing::Each(testing::NotNull()));
  EXPECT_EQ(std::count_if(all.begin(), all.end(), [](const auto& one) { return !one->attached(); }), 1);
  const auto server = pid();
  EXPECT_NE(server, 0);
  all.resize(1);
  EXPECT_EQ(pid(), server);
  all.clear();
  EXPECT_EQ(pid(), 0);
}

TEST_F(EmbeddedPostgresTest, IsTakenOverAsItRunsAfterItsControllerWasKilled) {
  const auto server = leave_behind();
  ASSERT_NE(server, 0);
  const auto postgres = started();
  ASSERT_TRUE(postgres);
  EXPECT_EQ(pid(), server);
  EXPECT_FALSE(postgres->attached());
  ASSERT_TRUE(postgres->stop());
  EXPECT_EQ(pid(), 0);
}

TEST_F(EmbeddedPostgresTest, IsNotCalledReadyWhileItDoesNotAnswer) {
  // A stopped process looks like one that was killed a moment ago: it is there, its file says "ready", its socket
  // accepts.
  const auto server = leave_behind();
  ASSERT_NE(server, 0);
  ASSERT_EQ(::kill(server, SIGSTOP), 0);
  bool told = false;
  const auto progress = [&](std::string_view) {
    told = true;
    ::kill(server, SIGCONT);
  };
  const auto result = EmbeddedPostgres::start({.state_dir = state_, .progress = progress});
  ::kill(server, SIGCONT);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_TRUE(told);
  EXPECT_TRUE(store::Database::open((*result)->conninfo(), 1));
}

TEST_F(EmbeddedPostgresTest, IsStartedAgainWhenItIsKilledAndLosesNothingCommitted) {
  const auto postgres = started();
  ASSERT_TRUE(postgres);
  auto database = store::Database::open(postgres->conninfo(), 2).value();
  execute(*database, "CREATE TABLE t AS SELECT 42 AS n");
  const auto killed = pid();
  ASSERT_EQ(::kill(killed, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return pid() != 0 && pid() != killed && database->ping().has_value(); }, 60s));
  EXPECT_EQ(number(*database, "SELECT n FROM t"), 42);
  database.reset();
  ASSERT_TRUE(postgres->stop());
  EXPECT_EQ(pid(), 0);
}

TEST_F(EmbeddedPostgresTest, RecoversAtTheNextStartFromACrash) {
  {
    const pid_t controller = ::fork();
    if (controller == 0) {
      const auto result = start();
      if (!result) ::_exit(1);
      auto database = store::Database::open((*result)->conninfo(), 1).value();
      auto tx = database->begin().value();
      if (!tx.exec("CREATE TABLE t AS SELECT 42 AS n") || !tx.commit()) ::_exit(2);
      ::kill(pid(), SIGKILL);
      ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(controller, &status, 0), controller);
    ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
  }
  const auto postgres = started();
  ASSERT_TRUE(postgres);
  auto database = store::Database::open(postgres->conninfo(), 1).value();
  EXPECT_EQ(number(*database, "SELECT n FROM t"), 42);
}

TEST_F(EmbeddedPostgresTest, RedoesAHalfMadeCluster) {
  fs::rename(data(), state_ / "postgres/data.new");
  fs::remove(state_ / "postgres/data.new/PG_VERSION");
  const auto postgres = started();
  ASSERT_TRUE(postgres);
  EXPECT_FALSE(fs::exists(state_ / "postgres/data.new"));
  EXPECT_TRUE(store::Database::open(postgres->conninfo(), 1));
}

TEST_F(EmbeddedPostgresTest, IsNotStoppedByAProcessIdThatAnotherProgramHasNow) {
  struct stat owner {};
  ASSERT_EQ(::stat(data().c_str(), &owner), 0);
  const embedded::Account account{owner.st_uid, owner.st_gid, "owner", ::geteuid() == 0};
  const auto other = embedded::spawn(account, {{"/bin/sleep", "60"}, (state_ / "postgres/sleep.log").string(), {}});
  ASSERT_TRUE(other) << other.error().message;
  std::ofstream{data() / "postmaster.pid"} << *other << "\n"
                                           << data().string() << "\n1700000000\n5432\n/nowhere\n\n  1 2\nready\n";
  fs::permissions(data() / "postmaster.pid", fs::perms{0600});
  ASSERT_EQ(::chown((data() / "postmaster.pid").c_str(), owner.st_uid, owner.st_gid), 0);
  const auto postgres = started();
  ASSERT_TRUE(postgres);
  EXPECT_TRUE(store::Database::open(postgres->conninfo(), 1));
  EXPECT_NE(pid(), *other);
  EXPECT_EQ(::kill(*other, SIGKILL), 0);
  EXPECT_TRUE(embedded::exited(*other, 10s));
}

TEST_F(EmbeddedPostgresTest, DoesNotStartASecondServerBesideOneItCannotSee) {
  // As it looks from another container that shares the folder: somebody answers, and no process is to be seen.
  const auto path = (state_ / "postgres/.s.PGSQL.5432").string();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(fd, 8), 0);
  const auto result = start();
  ::close(fd);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("another container"));
  EXPECT_EQ(pid(), 0);
}

TEST_F(EmbeddedPostgresTest, OpensItsOwnStateFolderForPassingThrough) {
  fs::permissions(state_, fs::perms{0700});
  EXPECT_TRUE(started());
  // Only root runs PostgreSQL as somebody else, who must get through.
  EXPECT_EQ(fs::status(state_).permissions(), fs::perms{::geteuid() == 0 ? 0711u : 0700u});
}

TEST_F(EmbeddedPostgresTest, NamesTheFolderItsAccountCannotEnter) {
  // Root's PostgreSQL account cannot enter it; anybody else cannot write to it.
  const bool root = ::geteuid() == 0;
  const fs::perms mode{root ? 0700u : 0500u};
  const auto closed = root_ / "closed";
  fs::create_directory(closed);
  fs::permissions(closed, mode);
  const auto result = EmbeddedPostgres::start({.state_dir = closed / "state"});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr(closed.string()));
  if (root) {
    EXPECT_THAT(result.error().message, HasSubstr("cannot enter " + closed.string() + ";"));
  }
  EXPECT_THAT(result.error().message, HasSubstr("CREEL_STATE_DIR"));
  EXPECT_EQ(fs::status(closed).permissions(), mode);
}

TEST_F(EmbeddedPostgresTest, RefusesAClusterOfAnotherMajorVersion) {
  std::ofstream{data() / "PG_VERSION"} << "11\n";
  const auto result = start();
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("was made by PostgreSQL 11"));
  EXPECT_THAT(result.error().message, HasSubstr("postgresql-11"));
}

TEST_F(EmbeddedPostgresTest, DoesNotReplaceADamagedCluster) {
  fs::remove(data() / "PG_VERSION");
  const auto result = start();
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("holds no PostgreSQL cluster"));
  EXPECT_TRUE(fs::exists(data() / "global/pg_control"));
}

TEST_F(EmbeddedPostgresTest, RepeatsPostgresOwnReasonInOneLine) {
  std::ofstream{data() / "postgresql.conf", std::ios::app} << "\nno_such_setting = 1\n";
  const auto result = start();
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("configuration file"));
  EXPECT_THAT(result.error().message, HasSubstr("postgres.log"));
  EXPECT_THAT(result.error().message, Not(HasSubstr("\n")));
  EXPECT_EQ(pid(), 0);
}

TEST_F(EmbeddedPostgresTest, SaysWhenProgramsOrUserOrPathWillNotDo) {
  const auto message = [](EmbeddedPostgres::Options options) {
    const auto result = EmbeddedPostgres::start(std::move(options));
    return result ? std::string{"started"} : result.error().message;
  };
  EXPECT_THAT(message({.state_dir = state_, .bin_dir = "/nonexistent"}), HasSubstr("install postgresql"));
  EXPECT_THAT(message({.state_dir = root_ / std::string(100, 'x')}), HasSubstr("shorter"));
  EXPECT_THAT(message({.state_dir = ""}), HasSubstr("state folder"));
  EXPECT_THAT(message({.state_dir = "/proc/creel"}), HasSubstr("/proc/creel"));
  if (::geteuid() == 0) {
    EXPECT_THAT(message({.state_dir = root_ / "new", .user = "no_such_user"}), HasSubstr("no_such_user"));
    EXPECT_THAT(message({.state_dir = root_ / "new", .user = "root"}), HasSubstr("unprivileged"));
  }
}

TEST_F(EmbeddedPostgresTest, LeavesNothingRunningWhenItsStartIsCancelled) {
  std::stop_source source;
  source.request_stop();
  const auto result = EmbeddedPostgres::start({.state_dir = state_, .stop = source.get_token()});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::cancelled);
  EXPECT_EQ(pid(), 0);
  EXPECT_TRUE(started());
}

}  // namespace
}  // namespace creel
