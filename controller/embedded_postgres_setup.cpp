#include "controller/embedded_postgres_setup.hpp"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

namespace creel::embedded {
namespace {

namespace fs = std::filesystem;
constexpr int kOldestMajor = 13;

Error failed(std::string message) { return Error{ErrorKind::failed, std::move(message)}; }

std::optional<Account> account_of(const std::string& name) {
  std::array<char, 16384> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return std::nullopt;
  }
  return Account{entry.pw_uid, entry.pw_gid, name, true};
}

// "/usr/lib/postgresql/15/bin" -> 15; 0 = the path does not tell.
int major_of(const fs::path& bin) { return leading_number(bin.parent_path().filename().string()).value_or(0); }

bool holds_programs(const fs::path& bin) {
  return ::access((bin / "postgres").c_str(), X_OK) == 0 && ::access((bin / "initdb").c_str(), X_OK) == 0;
}

// Newest first; what PATH has besides comes last.
std::vector<fs::path> installed() {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator{"/usr/lib/postgresql", error}) {
    const auto bin = entry.path() / "bin";
    if (major_of(bin) >= kOldestMajor && holds_programs(bin)) found.push_back(bin);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return major_of(a) > major_of(b); });
  const char* path = std::getenv("PATH");
  std::istringstream folders{path == nullptr ? "" : path};
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (folder.empty() || !holds_programs(folder)) continue;
    // Where a link leads to tells the version, and where the server's other files are.
    const auto program = fs::canonical(fs::path{folder} / "postgres", error);
    const auto bin = error ? fs::path{folder} : program.parent_path();
    if (holds_programs(bin) && std::find(found.begin(), found.end(), bin) == found.end()) found.push_back(bin);
  }
  return found;
}

}  // namespace

std::string read_text(const fs::path& path, std::uintmax_t from) {
  std::ifstream file{path, std::ios::binary};
  file.seekg(static_cast<std::streamoff>(from));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::optional<int> leading_number(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return number;
}

std::string last_complaint(const std::string& log) {
  std::string found;
  std::istringstream lines{log};
  for (std::string line; std::getline(lines, line);) {
    for (const std::string_view word : {"FATAL:", "PANIC:", "ERROR:", "initdb: error:", "error while loading"}) {
      const auto at = line.find(word);
      if (at == std::string::npos) continue;
      found = line.substr(at + (word.back() == ':' ? word.size() : 0));
      found.erase(0, found.find_first_not_of(' '));
    }
  }
  return found;
}

std::string remedy(const std::string& complaint, const fs::path& base, const fs::path& log) {
  const auto data = (base / "data").string();
  const std::pair<const char*, std::string> known[] = {
      {"No space left on device", "free disk space for " + base.string()},
      {"Permission denied", "check owner and mode of " + base.string()},
      {"wrong ownership", "give " + data + " back to the account that made it"},
      {"invalid permissions", "run: chmod 700 " + data},
      {"lock file", "stop the other PostgreSQL that uses " + data},
      {"shared memory", "enlarge /dev/shm or free memory"},
      {"incompatible with server", "install the PostgreSQL version that made it"},
      {"checkpoint record", "the data is damaged: restore a backup of " + data},
      {"loading shared libraries", "reinstall the postgresql package"},
  };
  for (const auto& [pattern, text] : known) {
    if (complaint.find(pattern) != std::string::npos) return text;
  }
  return "see " + log.string();
}

Result<Account> choose_account(const fs::path& base, const std::string& wanted) {
  struct stat info {};
  const bool there = ::stat(base.c_str(), &info) == 0;
  const uid_t self = ::geteuid();
  if (self != 0) {
    if (there && info.st_uid != self) {
      return failed("the database in " + base.string() + " belongs to another user (uid " +
                    std::to_string(info.st_uid) + "); run creel as before, or set CREEL_STATE_DIR to another folder");
    }
    return Account{self, ::getegid(), "uid " + std::to_string(self), false};
  }
  // What exists goes on running as who owns it, whatever is wanted now: changing owners is not for a start to do.
  if (there && info.st_uid != 0) {
    return Account{info.st_uid, info.st_gid, "uid " + std::to_string(info.st_uid), true};
  }
  if (!wanted.empty()) {
    const auto account = account_of(wanted);
    if (!account) {
      return invalid("CREEL_POSTGRES_USER", "there is no user " + wanted + "; set CREEL_POSTGRES_USER to one there is");
    }
    if (account->uid == 0) {
      return invalid("CREEL_POSTGRES_USER",
                     "PostgreSQL does not run as root; set CREEL_POSTGRES_USER to an "
                     "unprivileged user");
    }
    return *account;
  }
  for (const char* name : {"postgres", "nobody"}) {
    if (const auto account = account_of(name)) return *account;
  }
  return invalid("CREEL_POSTGRES_USER",
                 "PostgreSQL does not run as root and there is no user postgres; set CREEL_POSTGRES_USER");
}

Result<fs::path> choose_programs(const std::string& wanted, int major, const fs::path& data) {
  if (!wanted.empty()) {
    if (holds_programs(wanted)) return fs::path{wanted};
    return failed("there is no postgres and initdb in " + wanted + "; install postgresql");
  }
  const auto found = installed();
  if (found.empty()) return failed("PostgreSQL is not installed; run: apt-get install postgresql, or set DATABASE_URL");
  if (major == 0) return found.front();
  std::string have;
  for (const auto& bin : found) {
    // Where the path does not tell the version, PostgreSQL itself says if it does not fit.
    if (major_of(bin) == major || major_of(bin) == 0) return bin;
    have += (have.empty() ? "" : ", ") + std::to_string(major_of(bin));
  }
  return failed("the database in " + data.string() + " was made by PostgreSQL " + std::to_string(major) +
                ", but only " + have + " is installed; run: apt-get install postgresql-" + std::to_string(major) +
                ", or move it over with pg_upgrade");
}

}  // namespace creel::embedded
