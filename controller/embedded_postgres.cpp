#include "controller/embedded_postgres.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "controller/embedded_postgres_process.hpp"
#include "controller/embedded_postgres_setup.hpp"

namespace creel {
namespace {

namespace fs = std::filesystem;
using embedded::Account;
using embedded::Command;
using embedded::last_complaint;
using embedded::leading_number;
using embedded::read_text;
using embedded::remedy;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr const char* kPort = "5432";  // only part of the socket's name: there is no TCP
constexpr std::uintmax_t kLongestLog = 16u << 20;
constexpr milliseconds kLook{50};  // between looks at postmaster.pid, while watching the process
constexpr milliseconds kProgressEvery{5'000};

Error failed(std::string message) { return Error{ErrorKind::failed, std::move(message)}; }
Error failed(const std::string& what, int error) { return failed(what + ": " + std::strerror(error)); }

// ---- Locks

// An flock(2) that dies with its holder.
class LockFile {
 public:
  LockFile() = default;
  ~LockFile() { close(); }
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

  Result<void> open(const fs::path& path) {
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd_ < 0) return failed("cannot open " + path.string(), errno);
    return {};
  }
  bool try_lock(int how) { return fd_ >= 0 && ::flock(fd_, how | LOCK_NB) == 0; }
  void unlock() {
    if (fd_ >= 0) ::flock(fd_, LOCK_UN);
  }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

}  // namespace

struct EmbeddedPostgres::Impl {
  Options options;
  fs::path base;  // <state_dir>/postgres
  fs::path data;  // base/data
  fs::path log;   // base/postgres.log
  fs::path bin;
  Account account;
  // start_lock is held by who starts or stops the cluster; use_lock, shared, by everyone who uses it, so that who gets
  // it alone knows to be the last.
  LockFile start_lock, use_lock;
  bool attached = false;
  bool running = false;  // we use it
  int wake_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  std::jthread supervisor;

  ~Impl() {
    if (wake_fd >= 0) ::close(wake_fd);
  }

  void say(std::string_view sentence) const {
    if (options.progress) options.progress(sentence);
  }

  std::string socket_path() const { return base / (std::string{".s.PGSQL."} + kPort); }

  Result<void> prepare() {
    if (options.state_dir.empty()) return invalid("CREEL_STATE_DIR", "the state folder is not set");
    std::error_code error;
    const bool root = ::geteuid() == 0;
    const auto state = fs::absolute(options.state_dir, error).lexically_normal();
    const bool made = fs::create_directories(state, error);
    if (error) return failed("cannot make the state folder " + state.string(), error.value());
    // Others may pass through, not look: PostgreSQL's folder lies in it and belongs to another account.
    if (made) ::chmod(state.c_str(), root ? 0711 : 0700);
    const auto real = fs::canonical(state, error);
    if (error) return failed("cannot enter the state folder " + state.string(), error.value());
    base = real / "postgres";
    data = base / "data";
    log = base / "postgres.log";
    if (socket_path().size() >= sizeof(sockaddr_un::sun_path) || base.string().find(',') != std::string::npos) {
      return invalid("CREEL_STATE_DIR", "the path " + real.string() +
                                            " is too long for a Unix socket, or has a comma; set CREEL_STATE_DIR to a "
                                            "shorter one (at most 80 bytes)");
    }
    CREEL_TRY(account, embedded::choose_account(base, options.user));
    if (::mkdir(base.c_str(), 0700) != 0 && errno != EEXIST) return failed("cannot make " + base.string(), errno);
    struct stat info {};
    if (::stat(base.c_str(), &info) != 0) return failed("cannot look at " + base.string(), errno);
    if (account.drop && info.st_uid == 0 && ::chown(base.c_str(), account.uid, account.gid) != 0) {
      return failed("cannot give " + base.string() + " to " + account.name, errno);
    }
    if ((info.st_mode & 077) != 0) ::chmod(base.c_str(), 0700);
    CREEL_CHECK(check_way(real));
    CREEL_CHECK(start_lock.open(base / "start.lock"));
    return use_lock.open(base / "use.lock");
  }

  Result<void> check_way(const fs::path& state) {
    if (!account.drop) return {};
    CREEL_TRY(auto closed, embedded::first_closed_folder(account, base.string()));
    if (closed && *closed == state.string()) {
      // The state folder is Creel's own; what is secret in it has modes of its own.
      struct stat info {};
      if (::stat(state.c_str(), &info) == 0) ::chmod(state.c_str(), (info.st_mode & 07777) | 0011);
      CREEL_TRY(closed, embedded::first_closed_folder(account, base.string()));
    }
    if (!closed) return {};
    return failed("PostgreSQL runs as " + account.name + ", which cannot enter " + *closed +
                  "; set CREEL_STATE_DIR to a folder elsewhere (/var/lib/creel), or run: chmod o+x " + *closed);
  }

  Result<void> take_start_lock(const std::stop_token& stop) {
    if (start_lock.try_lock(LOCK_EX)) return {};
    say("waiting for another creel that is starting or stopping PostgreSQL");
    while (!start_lock.try_lock(LOCK_EX)) {
      if (stop.stop_requested()) return Error{ErrorKind::cancelled, "stopped while waiting for another creel"};
      // Locks of other processes cannot be waited for together with a stop; the wake descriptor ends the pause early.
      pause(kLook);
    }
    return {};
  }

  void pause(milliseconds time) const { embedded::exited(::getpid(), time, wake_fd); }

  // ---- Making the cluster

  Result<int> existing_major() const {
    std::error_code error;
    if (!fs::exists(data, error)) return 0;
    const auto major = leading_number(read_text(data / "PG_VERSION"));
    if (!major) {
      return failed(data.string() + " exists but holds no PostgreSQL cluster; move it away, or restore a backup there");
    }
    return *major;
  }

  Result<void> run_step(const std::string& what, const Command& command) const {
    CREEL_TRY(const int status, embedded::run(account, command));
    const auto complaint = last_complaint(read_text(command.log_file));
    // In single-user mode PostgreSQL exits with 0 though a statement failed.
    if (status == 0 && complaint.empty()) return {};
    return failed(what + ": " + (complaint.empty() ? "exit status " + std::to_string(status) : complaint) + "; " +
                  remedy(complaint, base, command.log_file));
  }

  // Made beside and renamed, so that a half-made one is never taken for a cluster.
  Result<void> create_cluster() {
    say("making the PostgreSQL cluster in " + base.string());
    const auto draft = base / "data.new";
    const auto draft_log = base / "initdb.log";
    std::error_code error;
    fs::remove_all(draft, error);
    if (error) return failed("cannot remove the half-made " + draft.string(), error.value());
    fs::remove(draft_log, error);
    CREEL_CHECK(run_step("cannot make the PostgreSQL cluster",
                         {{(bin / "initdb").string(), "-D", draft.string(), "-U", "creel", "-E", "UTF8", "--locale=C",
                           "--auth-local=trust", "--auth-host=reject", "--data-checksums"},
                          draft_log.string(),
                          {}}));
    CREEL_CHECK(run_step("cannot make the database", {{(bin / "postgres").string(), "--single", "-D", draft.string(),
                                                       "-c", "log_min_messages=error", "template1"},
                                                      draft_log.string(),
                                                      "CREATE DATABASE creel;\n"}));
    fs::rename(draft, data, error);
    if (error) return failed("cannot rename " + draft.string(), error.value());
    const int fd = ::open(base.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
      ::fsync(fd);
      ::close(fd);
    }
    fs::remove(draft_log, error);
    return {};
  }

  // ---- The server

  bool works_here(pid_t pid) const {
    std::error_code error;
    const auto folder = fs::read_symlink("/proc/" + std::to_string(pid) + "/cwd", error);
    return !error && folder == data;
  }

  // The postmaster of this very folder: a process id alone proves nothing after a reboot or in another container.
  std::optional<pid_t> postmaster() const {
    const auto pid = leading_number(read_text(data / "postmaster.pid"));
    if (!pid || *pid <= 0 || !works_here(*pid)) return std::nullopt;
    return *pid;
  }

  bool ready(pid_t pid) const {
    std::istringstream lines{read_text(data / "postmaster.pid")};
    std::string line, first;
    // Line 8 of postmaster.pid is the state (pidfile.h: LOCK_FILE_LINE_PM_STATUS), padded with blanks.
    for (int number = 1; number <= 8 && std::getline(lines, line); ++number) {
      if (number == 1) first = line;
      if (number == 8) return leading_number(first) == pid && line.starts_with("ready");
    }
    return false;
  }

  // PostgreSQL refuses to start when the process id in a left-over lock file is in use by something else of the same
  // account, be it a zombie. The files are removed only when no process at all works in the data folder.
  void remove_stale_lock_files() const {
    std::error_code error;
    std::vector<fs::path> stale;
    for (const auto& file : {data / "postmaster.pid", fs::path{socket_path() + ".lock"}}) {
      const auto pid = leading_number(read_text(file));
      // Of a process that is gone PostgreSQL removes it itself.
      if (pid && *pid > 0 && (::kill(*pid, 0) == 0 || errno != ESRCH)) stale.push_back(file);
    }
    if (stale.empty()) return;
    for (const auto& entry : fs::directory_iterator{"/proc", error}) {
      const auto number = leading_number(entry.path().filename().string());
      if (number && works_here(*number)) return;
    }
    for (const auto& file : stale) {
      spdlog::info("PostgreSQL: removing a left-over {}", file.string());
      fs::remove(file, error);
    }
  }

  // Connects to the server's socket; -1 = nobody listens there.
  int connect_socket() const {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // prepare() has seen to it that it fits.
    socket_path().copy(address.sun_path, sizeof address.sun_path - 1);
    if (fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
    if (fd >= 0) ::close(fd);
    return -1;
  }

  // Whether the server says anything at all. A server that was killed a moment ago still has its process entry, its
  // postmaster.pid says "ready" and the kernel accepts connections for it; only an answer shows that it lives.
  bool answers() const {
    const int fd = connect_socket();
    if (fd < 0) return false;
    // SSLRequest: eight bytes that PostgreSQL answers with one, before any sign-in.
    constexpr unsigned char kRequest[8] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
    pollfd entry{fd, POLLIN, 0};
    char answer = 0;
    const bool answered = ::send(fd, kRequest, sizeof kRequest, MSG_NOSIGNAL) == sizeof kRequest &&
                          ::poll(&entry, 1, 1'000) > 0 && ::read(fd, &answer, 1) == 1;
    ::close(fd);
    return answered;
  }

  Result<pid_t> launch() const {
    // Who answers, yet is not seen in /proc, runs in another container that shares the folder. PostgreSQL's own guard
    // does not see it either, and a second server would destroy the data.
    if (const int fd = connect_socket(); fd >= 0) {
      ::close(fd);
      return failed("a PostgreSQL in another container uses " + base.string() + "; stop the creel there first");
    }
    remove_stale_lock_files();
    std::error_code error;
    if (const auto size = fs::file_size(log, error); !error && size > kLongestLog) {
      fs::rename(log, fs::path{log}.concat(".1"), error);
    }
    std::string folder;  // a list of names, each may be quoted
    for (const char c : base.string()) folder += c == '"' ? std::string{"\"\""} : std::string{c};
    std::vector<std::string> argv{(bin / "postgres").string(), "-D", data.string()};
    for (const auto& setting : std::initializer_list<std::string>{
             "listen_addresses=", std::string{"port="} + kPort, "unix_socket_directories=\"" + folder + "\"",
             "unix_socket_permissions=0700", "shared_buffers=32MB", "max_connections=100", "fsync=on",
             "max_wal_size=256MB", "min_wal_size=32MB", "jit=off", "ssl=off", "timezone=UTC", "log_timezone=UTC",
             "logging_collector=off", "log_destination=stderr", "log_min_messages=warning",
             // Its complaints about our statements come back to us and are told there, without the values.
             "log_min_error_statement=panic", "log_error_verbosity=terse", "log_statement=none", "log_checkpoints=off",
             "cluster_name=creel"}) {
      argv.insert(argv.end(), {"-c", setting});
    }
    return embedded::spawn(account, {argv, log.string(), {}});
  }

  enum class Outcome { ready, ended };

  // Waits as long as PostgreSQL needs: recovery after a crash may take minutes, and killing it would start it over.
  Result<Outcome> await_ready(pid_t pid, const std::stop_token& stop,
                              const std::function<void(std::string_view)>& tell) {
    const auto started = steady_clock::now();
    auto told = started;
    while (!ready(pid) || !answers()) {
      if (stop.stop_requested()) return Error{ErrorKind::cancelled, "stopped while PostgreSQL was starting"};
      if (embedded::exited(pid, kLook, wake_fd)) return Outcome::ended;
      if (const auto now = steady_clock::now(); now - told >= kProgressEvery) {
        told = now;
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - started).count();
        tell("PostgreSQL is starting or recovering (" + std::to_string(seconds) + " s)");
      }
    }
    return Outcome::ready;
  }

  // The caller holds start_lock.
  Result<void> ensure_running(const std::stop_token& stop, const std::function<void(std::string_view)>& tell) {
    const auto give_up = steady_clock::now() + std::chrono::seconds{60};
    for (;;) {
      auto pid = postmaster();
      const bool launched = !pid;
      std::error_code error;
      const auto log_start = fs::file_size(log, error);
      if (launched) {
        CREEL_TRY(pid, launch());
      }
      const auto waited = await_ready(*pid, stop, tell);
      if (!waited) {
        // It may not have got as far as to write postmaster.pid, by which it would be found later.
        if (launched) (void)end_process(*pid);
        return waited.error();
      }
      if (*waited == Outcome::ready) return {};
      if (!launched) continue;  // it was just stopping
      const auto complaint = last_complaint(read_text(log, error ? 0 : log_start));
      // After a kill -9 its children take a moment to notice that they are orphans; only then may what it left go.
      const bool orphans = complaint.find("pre-existing shared memory block") != std::string::npos ||
                           complaint.find("lock file") != std::string::npos;
      if (orphans && steady_clock::now() < give_up) {
        pause(kLook * 4);
        continue;
      }
      return failed(
          "PostgreSQL does not start: " + (complaint.empty() ? std::string{"it ended without a word"} : complaint) +
          "; " + remedy(complaint, base, log));
    }
  }

  Result<void> start() {
    CREEL_CHECK(prepare());
    CREEL_CHECK(take_start_lock(options.stop));
    auto result = start_locked();
    start_lock.unlock();
    if (!result) return result;
    running = true;
    supervisor = std::jthread{[this](const std::stop_token& stop) { supervise(stop); }};
    return {};
  }

  Result<void> start_locked() {
    CREEL_TRY(const int major, existing_major());
    CREEL_TRY(bin, embedded::choose_programs(options.bin_dir, major, data));
    if (major == 0) CREEL_CHECK(create_cluster());
    attached = !use_lock.try_lock(LOCK_EX);
    if (auto started = ensure_running(options.stop, [this](std::string_view text) { say(text); }); !started) {
      // Nobody asked for what was begun: it is ended, unless another process uses it.
      if (!attached) (void)end_server();
      use_lock.unlock();
      return started;
    }
    // From exclusive to shared; nobody can come between, because that needs start_lock.
    if (!use_lock.try_lock(LOCK_SH)) return failed("cannot lock " + (base / "use.lock").string());
    return {};
  }

  // ---- While it is used

  void supervise(const std::stop_token& stop) {
    const std::stop_callback on_stop{stop, [this] {
                                       const std::uint64_t one = 1;
                                       [[maybe_unused]] const auto written = ::write(wake_fd, &one, sizeof one);
                                     }};
    auto backoff = milliseconds{500};
    while (!stop.stop_requested()) {
      if (const auto pid = postmaster()) {
        backoff = milliseconds{500};
        if (!embedded::exited(*pid, std::chrono::minutes{1}, wake_fd)) continue;
      }
      if (stop.stop_requested()) return;
      spdlog::warn("PostgreSQL has ended unexpectedly; starting it again");
      auto result = take_start_lock(stop);
      if (result) {
        result = ensure_running(stop, [](std::string_view text) { spdlog::info("{}", text); });
        start_lock.unlock();
      }
      if (result) {
        spdlog::info("PostgreSQL runs again");
        continue;
      }
      if (stop.stop_requested()) return;
      spdlog::error("{}", result.error().message);
      pause(backoff);
      backoff = std::min(backoff * 2, milliseconds{10'000});
    }
  }

  // ---- Stopping

  // The caller holds start_lock and is the last to use it.
  Result<void> end_server() const {
    const auto pid = postmaster();
    return pid ? end_process(*pid) : Result<void>{};
  }

  Result<void> end_process(pid_t pid) const {
    // SIGINT: fast shutdown (connections are ended, a checkpoint is written). SIGQUIT: at once, recovery at the next
    // start.
    const std::pair<int, milliseconds> ways[] = {{SIGINT, options.stop_timeout}, {SIGQUIT, milliseconds{5'000}}};
    for (const auto& [number, patience] : ways) {
      if (::kill(pid, number) != 0 && errno != ESRCH) return failed("cannot stop PostgreSQL", errno);
      const auto end = steady_clock::now() + patience;
      while (steady_clock::now() < end) {
        if (embedded::exited(pid, std::chrono::ceil<milliseconds>(end - steady_clock::now()))) return {};
      }
      spdlog::warn("PostgreSQL did not stop within {} ms", patience.count());
    }
    return failed("PostgreSQL (process " + std::to_string(pid) + ") does not stop; look at the disk under " +
                  base.string());
  }

  Result<void> stop() {
    if (!running) return {};
    running = false;
    supervisor.request_stop();
    supervisor.join();
    std::uint64_t count = 0;
    [[maybe_unused]] const auto drained = ::read(wake_fd, &count, sizeof count);
    const std::stop_source never;
    CREEL_CHECK(take_start_lock(never.get_token()));
    Result<void> result;
    if (use_lock.try_lock(LOCK_EX)) result = end_server();
    use_lock.close();
    start_lock.close();
    return result;
  }
};

EmbeddedPostgres::EmbeddedPostgres(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

EmbeddedPostgres::~EmbeddedPostgres() {
  if (auto stopped = stop(); !stopped) spdlog::error("{}", stopped.error().message);
}

Result<std::unique_ptr<EmbeddedPostgres>> EmbeddedPostgres::start(Options options) {
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  if (impl->wake_fd < 0) return failed("cannot make an event descriptor", errno);
  CREEL_CHECK(impl->start());
  return std::unique_ptr<EmbeddedPostgres>{new EmbeddedPostgres{std::move(impl)}};
}

std::string EmbeddedPostgres::conninfo() const {
  std::string host;
  for (const char c : impl_->base.string()) {
    if (c == '\'' || c == '\\') host += '\\';
    host += c;
  }
  return "host='" + host + "' port=" + kPort + " dbname=creel user=creel";
}

bool EmbeddedPostgres::attached() const { return impl_->attached; }

Result<void> EmbeddedPostgres::stop() { return impl_->stop(); }

}  // namespace creel
