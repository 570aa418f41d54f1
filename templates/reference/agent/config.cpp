#include "config.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.hpp"

namespace agent {
namespace {

constexpr size_t largest = 256 * 1024;

bool same(const struct timespec& a, const struct timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

}  // namespace

void Config::swap(Config& other) {
  token.swap(other.token);
  name.swap(other.name);
  model.swap(other.model);
  const long long delay = ready_delay_ms;
  ready_delay_ms = other.ready_delay_ms;
  other.ready_delay_ms = delay;
  const Failure failure = fail;
  fail = other.fail;
  other.fail = failure;
}

bool ConfigFile::reject(Slice why) {
  error_.assign(why);
  return false;
}

bool ConfigFile::refresh(Config& config, bool& changed) {
  struct stat status;
  Version now;
  if (stat(path_.c_str(), &status) == 0) {
    now.inode = status.st_ino;
    now.size = status.st_size;
    now.modified = status.st_mtim;
    // An engine's archive endpoint sets the modification time from the tar, so a rewrite within one second may repeat
    // it; the change time is the kernel's own.
    now.changed = status.st_ctim;
  }
  changed = !read_once_ || now.inode != seen_.inode || now.size != seen_.size || !same(now.modified, seen_.modified) ||
            !same(now.changed, seen_.changed);
  if (!changed) return error_.size() == 0;
  read_once_ = true;
  seen_ = now;
  error_.clear();
  unknown_.clear();
  return read(config);
}

bool ConfigFile::read(Config& config) {
  const int file = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return reject(Slice::of(errno == ENOENT ? "the file does not exist" : strerror(errno)));
  Text bytes;
  char piece[4096];
  ssize_t n = 0;
  while (bytes.size() <= largest && (n = ::read(file, piece, sizeof piece)) != 0) {
    if (n > 0) {
      bytes.append(piece, static_cast<size_t>(n));
    } else if (errno != EINTR) {
      break;
    }
  }
  const int problem = n < 0 ? errno : 0;
  close(file);
  if (problem != 0) return reject(Slice::of(strerror(problem)));
  if (bytes.size() > largest) return reject("the file is larger than 256 KiB");

  Json json;
  if (!json.parse(bytes)) {
    error_.add("invalid JSON at byte ").add_number(static_cast<long long>(json.position()));
    error_.add(": ").add(Slice::of(json.error()));
    return false;
  }
  const JsonNode* root = json.root();
  if (root->kind != Kind::object) return reject("the file is not a JSON object");

  Config next;
  const auto text = [&](const JsonNode* node, Slice name, Text& out) {
    if (node->kind != Kind::string) {
      error_.add(name).add(" must be a string");
      return false;
    }
    out.assign(json.value(node));
    return true;
  };
  const auto unknown = [&](Slice prefix, Slice key) {
    if (unknown_.size() > 200) return;
    if (unknown_.size()) unknown_.add(", ");
    unknown_.add(prefix).add(key.first(64));
  };
  for (const JsonNode* node = json.first(root); node != nullptr; node = json.next(node)) {
    const Slice key = json.key(node);
    if (key == "gateway") {
      if (node->kind != Kind::object) return reject("gateway must be an object");
      for (const JsonNode* inner = json.first(node); inner != nullptr; inner = json.next(inner)) {
        if (json.key(inner) == "token") {
          if (!text(inner, "gateway.token", next.token)) return false;
        } else {
          unknown("gateway.", json.key(inner));
        }
      }
    } else if (key == "name") {
      if (!text(node, "name", next.name)) return false;
    } else if (key == "model") {
      if (!text(node, "model", next.model)) return false;
    } else if (key == "ready_delay_ms") {
      if (!json.whole(node, 0, 24LL * 3600 * 1000, next.ready_delay_ms))
        return reject("ready_delay_ms must be a whole number from 0 to 86400000");
    } else if (key == "fail") {
      Text word;
      if (!text(node, "fail", word)) return false;
      if (word.slice() == "exit") {
        next.fail = Failure::exit;
      } else if (word.slice() == "unready") {
        next.fail = Failure::unready;
      } else if (word.slice() == "hang") {
        next.fail = Failure::hang;
      } else if (word.slice() == "oom") {
        next.fail = Failure::oom;
      } else if (word.size() != 0) {
        return reject("fail must be one of exit, unready, hang, oom");
      }
    } else {
      unknown("", key);
    }
  }
  if (next.token.size() == 0) return reject("gateway.token is required");
  config.swap(next);
  return true;
}

}  // namespace agent
