#include "controller/embedded_postgres_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace creel::embedded {
namespace {

// Where a child failed, sent through a pipe that exec closes.
enum class Step : int { none, groups, group, user, session, log, input, exec };

const char* describe(Step step) {
  switch (step) {
    case Step::groups:
    case Step::group:
    case Step::user:
      return "cannot change to the account";
    case Step::session:
      return "cannot start a session";
    case Step::log:
      return "cannot open its log";
    case Step::input:
      return "cannot connect its input";
    default:
      return "cannot run it";
  }
}

struct Failure {
  Step step = Step::none;
  int error = 0;
};

// ---- The child's side: only system calls from here to the next line of this kind.

// Raw system calls: glibc's wrappers would signal the threads of the parent, which the child does not have.
Step become(const Account& account) {
  if (!account.drop) return Step::none;
  const gid_t group = account.gid;
  if (::syscall(SYS_setgroups, 1, &group) != 0) return Step::groups;
  if (::syscall(SYS_setgid, account.gid) != 0) return Step::group;
  if (::syscall(SYS_setuid, account.uid) != 0) return Step::user;
  return Step::none;
}

void default_signals() {
  for (int number = 1; number < NSIG; ++number) {
    if (number != SIGKILL && number != SIGSTOP) ::signal(number, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void fail(int report_fd, Step step) {
  const Failure failure{step, errno};
  [[maybe_unused]] const auto written = ::write(report_fd, &failure, sizeof failure);
  ::_exit(127);
}

[[noreturn]] void child(const Account& account, const char* log_file, int input_fd, int report_fd, char* const* argv,
                        char* const* environment) {
  default_signals();
  if (::setsid() < 0) fail(report_fd, Step::session);
  if (const auto step = become(account); step != Step::none) fail(report_fd, step);
  ::umask(077);
  const int log_fd = ::open(log_file, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
  if (log_fd < 0) fail(report_fd, Step::log);
  if (::dup2(input_fd, 0) < 0 || ::dup2(log_fd, 1) < 0 || ::dup2(log_fd, 2) < 0) fail(report_fd, Step::input);
  // A folder it can surely enter; the caller's may be closed to it.
  if (::chdir("/") != 0) fail(report_fd, Step::exec);
  // Whatever a library has opened without CLOEXEC; the report pipe closes with exec as well. Where the kernel lacks the
  // call, our own descriptors have the flag anyway.
  constexpr unsigned kCloseOnExec = 1u << 2;
  ::syscall(SYS_close_range, 3u, ~0u, kCloseOnExec);
  ::execve(argv[0], argv, environment);
  fail(report_fd, Step::exec);
}

// ---- The parent's side.

Error failed(const std::string& what, int error) {
  return Error{ErrorKind::failed, what + ": " + std::strerror(error)};
}

struct Pipe {
  int read = -1, write = -1;
  ~Pipe() {
    close_read();
    close_write();
  }
  bool open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    read = ends[0];
    write = ends[1];
    return true;
  }
  void close_read() {
    if (read >= 0) ::close(read);
    read = -1;
  }
  void close_write() {
    if (write >= 0) ::close(write);
    write = -1;
  }
};

int status_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return 0;
  }
  return status_of(status);
}

bool is_zombie_or_gone(pid_t pid) {
  if (::waitpid(pid, nullptr, WNOHANG) == pid) return true;
  return ::kill(pid, 0) != 0 && errno == ESRCH;
}

}  // namespace

Result<pid_t> spawn(const Account& account, const Command& command) {
  std::vector<char*> argv;
  for (const auto& argument : command.argv) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::string path = "PATH=/usr/local/bin:/usr/bin:/bin", locale = "LC_ALL=C", zone = "TZ=UTC";
  const std::array<char*, 4> environment{path.data(), locale.data(), zone.data(), nullptr};

  Pipe report, input;
  if (!report.open() || !input.open()) return failed("cannot make a pipe", errno);
  if (!command.input.empty() &&
      ::write(input.write, command.input.data(), command.input.size()) != static_cast<ssize_t>(command.input.size())) {
    return failed("cannot write to a pipe", errno);
  }
  input.close_write();

  // Blocked until the child has set its own handlers, so that no handler of ours runs in it.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::fork();
  if (pid == 0) child(account, command.log_file.c_str(), input.read, report.write, argv.data(), environment.data());
  const int fork_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return failed("cannot start a process", fork_error);

  report.close_write();
  Failure failure;
  ssize_t count = 0;
  do {
    count = ::read(report.read, &failure, sizeof failure);
  } while (count < 0 && errno == EINTR);
  if (count == 0) return pid;  // exec has closed it
  wait_for(pid);
  const auto name = account.drop ? " " + account.name : std::string{};
  return failed(command.argv[0] + ": " + describe(failure.step) + (failure.step == Step::exec ? "" : name) +
                    (failure.step == Step::log ? " " + command.log_file : ""),
                failure.error);
}

Result<int> run(const Account& account, const Command& command) {
  CREEL_TRY(const pid_t pid, spawn(account, command));
  return wait_for(pid);
}

Result<std::optional<std::string>> first_closed_folder(const Account& account, const std::string& path) {
  std::vector<std::string> folders;
  std::filesystem::path way;
  for (const auto& part : std::filesystem::path{path}) {
    way /= part;
    folders.push_back(way.string());
  }
  // Asked by a child that has become the account: the kernel knows better than we do about groups, ACLs and mounts.
  Pipe answer;
  if (!answer.open()) return failed("cannot make a pipe", errno);
  const pid_t pid = ::fork();
  if (pid < 0) return failed("cannot start a process", errno);
  if (pid == 0) {
    int index = -1;
    if (become(account) != Step::none) ::_exit(1);
    for (std::size_t i = 0; i < folders.size() && index < 0; ++i) {
      if (::access(folders[i].c_str(), X_OK) != 0) index = static_cast<int>(i);
    }
    [[maybe_unused]] const auto written = ::write(answer.write, &index, sizeof index);
    ::_exit(0);
  }
  answer.close_write();
  int index = -1;
  ssize_t count = 0;
  do {
    count = ::read(answer.read, &index, sizeof index);
  } while (count < 0 && errno == EINTR);
  wait_for(pid);
  if (count != sizeof index) return Error{ErrorKind::failed, "cannot become the account " + account.name};
  if (index < 0) return std::optional<std::string>{};
  return std::optional{folders[static_cast<std::size_t>(index)]};
}

bool exited(pid_t pid, std::chrono::milliseconds timeout, int wake_fd) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0 && errno == ESRCH) return true;
  // Without pidfd (Linux before 5.3) we look again after a short while instead of being told.
  const bool told = fd >= 0;
  if (!told) timeout = std::min(timeout, std::chrono::milliseconds{100});
  pollfd entries[2] = {{told ? fd : -1, POLLIN, 0}, {wake_fd, POLLIN, 0}};
  ::poll(entries, 2, static_cast<int>(timeout.count()));
  if (told) ::close(fd);
  // A zombie of another process counts as ended; of ours it is reaped here.
  if (told && (entries[0].revents & POLLIN) != 0) {
    ::waitpid(pid, nullptr, WNOHANG);
    return true;
  }
  return is_zombie_or_gone(pid);
}

}  // namespace creel::embedded
