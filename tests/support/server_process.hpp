// A server for the length of a test, as a process of its own that says on its first line where it listens. Tests only.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

namespace creel::test {

class ServerProcess {
 public:
  // Returns once the first line has come.
  explicit ServerProcess(const std::vector<std::string>& command) {
    int out[2];
    if (pipe(out) != 0) throw std::runtime_error("no pipe");
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out[1], 1);
      close(out[0]);
      close(out[1]);
      std::vector<char*> arguments;
      for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
      arguments.push_back(nullptr);
      execvp(arguments[0], arguments.data());
      _exit(127);
    }
    close(out[1]);
    FILE* stream = fdopen(out[0], "r");
    char line[256] = {};
    const bool spoke = fgets(line, sizeof line, stream) != nullptr;
    fclose(stream);
    if (!spoke) throw std::runtime_error(command[0] + " " + command[1] + " did not start");
    first_line_ = line;
    while (!first_line_.empty() && first_line_.back() == '\n') first_line_.pop_back();
    port_ = first_line_.substr(first_line_.rfind(':') + 1);
  }
  ~ServerProcess() {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const std::string& first_line() const { return first_line_; }
  // What stands behind the line's last colon.
  const std::string& port() const { return port_; }

 private:
  pid_t pid_ = 0;
  std::string first_line_, port_;
};

}  // namespace creel::test
