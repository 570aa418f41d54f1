#include "sessions.hpp"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.hpp"
#include "log.hpp"

namespace agent {
namespace {

constexpr size_t longest_name = 240;   // a file name has at most 255 bytes
constexpr size_t most_counted = 4096;  // sessions whose counts are remembered
constexpr size_t most_listed = 1000;
constexpr size_t most_considered = 20000;
constexpr off_t most_answered = 8 << 20;  // bytes of one session's messages
constexpr Slice suffix = ".jsonl";
constexpr Slice user_line = "{\"role\":\"user\",";

// Closes when it goes.
struct File {
  int fd;
  explicit File(int descriptor) : fd(descriptor) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd >= 0) close(fd);
  }
};

bool plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

void add_file_name(Text& out, Slice key) {
  static const char hex[] = "0123456789ABCDEF";
  for (size_t i = 0; i < key.size; ++i) {
    const char c = key.data[i];
    if (plain(c) && !(i == 0 && c == '.')) {
      out.add(c);
    } else {
      out.add('%').add(hex[static_cast<unsigned char>(c) >> 4]).add(hex[static_cast<unsigned char>(c) & 15]);
    }
  }
  out.add(suffix);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// False for a file that is not a session's.
bool key_of_file(Slice name, Text& key) {
  if (name.size <= suffix.size || !(name.from(name.size - suffix.size) == suffix)) return false;
  name = name.first(name.size - suffix.size);
  for (size_t i = 0; i < name.size; ++i) {
    if (name.data[i] == '%') {
      if (i + 2 >= name.size || hex_digit(name.data[i + 1]) < 0 || hex_digit(name.data[i + 2]) < 0) return false;
      key.add(static_cast<char>(hex_digit(name.data[i + 1]) * 16 + hex_digit(name.data[i + 2])));
      i += 2;
    } else if (plain(name.data[i])) {
      key.add(name.data[i]);
    } else {
      return false;
    }
  }
  return true;
}

void add_line(Text& out, Slice role, Slice content, Slice time) {
  out.add("{\"role\":\"").add(role).add("\",\"content\":");
  add_json_string(out, content);
  out.add(",\"timestamp\":\"").add(time).add("\"}\n");
}

}  // namespace

Sessions::Sessions(Slice state_folder) { folder_.add(state_folder).add("/agents/main/sessions"); }

int Sessions::prepare() {
  for (size_t i = 1; i <= folder_.size(); ++i) {
    if (i < folder_.size() && folder_[i] != '/') continue;
    Text part;
    part.add(folder_.slice().first(i));
    if (mkdir(part.c_str(), 0700) != 0) {
      if (errno != EEXIST) return errno;
      continue;
    }
    // A new folder lasts only when the one it is in has been written too.
    while (part.size() > 1 && part[part.size() - 1] != '/') part.pop();
    const File parent(open(part.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (parent.fd >= 0) fsync(parent.fd);
  }
  return access(folder_.c_str(), R_OK | W_OK | X_OK) == 0 ? 0 : errno;
}

bool Sessions::valid_key(Slice key) {
  if (key.size == 0 || key.size > longest_name) return false;
  Text name;
  add_file_name(name, key);
  return name.size() <= longest_name;
}

Sessions::Entry& Sessions::entry(Slice file) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (size_t i = 0; i < file.size; ++i) hash = (hash ^ static_cast<unsigned char>(file.data[i])) * 1099511628211u;
  for (Entry& known : entries_)
    if (known.hash == hash && Slice::of(known.file) == file) return known;
  if (entries_.size() >= most_counted) forget();
  char* name = strndup(file.data, file.size);
  if (name == nullptr) out_of_memory();
  return entries_.push({hash, name, -1, 0, 0});
}

void Sessions::forget() {
  for (Entry& known : entries_) free(known.file);
  entries_.clear();
}

int Sessions::refresh(Entry& entry, int fd, off_t size) {
  if (entry.size == size) return 0;
  long long users = 0, lines = 0;
  size_t matched = 0;  // how much of user_line the current line has matched; once it differs, more than it is long
  off_t whole = 0, at = 0;
  static char piece[64 * 1024];
  for (;;) {
    const ssize_t n = pread(fd, piece, sizeof piece, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) break;
    for (ssize_t i = 0; i < n; ++i) {
      const char c = piece[i];
      if (c == '\n') {
        ++lines;
        users += matched == user_line.size;
        matched = 0;
        whole = at + i + 1;
      } else if (matched < user_line.size) {
        matched = c == user_line.data[matched] ? matched + 1 : user_line.size + 1;
      }
    }
    at += n;
  }
  entry.size = whole;
  entry.users = users;
  entry.lines = lines;
  return 0;
}

long long Sessions::user_messages(Slice key) {
  Text name;
  add_file_name(name, key);
  const File folder(open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.fd < 0) return errno == ENOENT ? 0 : -errno;
  const File file(openat(folder.fd, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.fd < 0) return errno == ENOENT ? 0 : -errno;
  struct stat status;
  if (fstat(file.fd, &status) != 0) return -errno;
  Entry& known = entry(name);
  const int problem = refresh(known, file.fd, status.st_size);
  return problem == 0 ? known.users : -problem;
}

int Sessions::append(Slice key, Slice question, Slice answer) {
  Text name, time, lines;
  add_file_name(name, key);
  File folder(open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.fd < 0) {
    // Memory was cleared by deleting the folder.
    const int problem = prepare();
    if (problem != 0) return problem;
    folder.fd = open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder.fd < 0) return errno;
  }
  const File file(openat(folder.fd, name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.fd < 0) return errno;
  struct stat status;
  if (fstat(file.fd, &status) != 0) return errno;
  Entry& known = entry(name);
  int problem = refresh(known, file.fd, status.st_size);
  if (problem != 0) return problem;
  if (known.size != status.st_size && ftruncate(file.fd, known.size) != 0) return errno;

  add_time(time, wall_ms());
  add_line(lines, "user", question, time);
  add_line(lines, "assistant", answer, time);
  size_t written = 0;
  while (written < lines.size()) {
    const ssize_t n =
        pwrite(file.fd, lines.data() + written, lines.size() - written, known.size + static_cast<off_t>(written));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    written += static_cast<size_t>(n);
  }
  problem = written == lines.size() ? 0 : (errno ? errno : EIO);
  if (problem == 0 && fdatasync(file.fd) != 0) problem = errno;
  if (problem == 0 && status.st_size == 0 && fsync(folder.fd) != 0) problem = errno;
  if (problem != 0) {
    if (ftruncate(file.fd, known.size) != 0) known.size = -1;
    return problem;
  }
  known.size += static_cast<off_t>(lines.size());
  known.users += 1;
  known.lines += 2;
  return 0;
}

int Sessions::messages(Slice key, size_t limit, Text& out) {
  Text name, lines;
  add_file_name(name, key);
  out.add("{\"messages\":[");
  const File folder(open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.fd < 0 && errno != ENOENT) return errno;
  const File file(folder.fd < 0 ? -1 : openat(folder.fd, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (folder.fd >= 0 && file.fd < 0 && errno != ENOENT) return errno;
  struct stat status = {};
  if (file.fd >= 0 && fstat(file.fd, &status) != 0) return errno;
  // Backwards, until there are lines enough or as many bytes as an answer may have.
  static char piece[64 * 1024];
  off_t from = status.st_size, end = status.st_size;
  size_t found = 0;
  while (from > 0 && found <= limit && end - from < most_answered) {
    const off_t begin = from > static_cast<off_t>(sizeof piece) ? from - static_cast<off_t>(sizeof piece) : 0;
    const ssize_t n = pread(file.fd, piece, static_cast<size_t>(from - begin), begin);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : EIO;
    ssize_t i = n;
    while (i > 0 && found <= limit)
      if (piece[--i] == '\n') ++found;
    // The newline before the first line wanted; a line cut short by a crash is not one yet.
    from = found > limit ? begin + i + 1 : begin;
    if (found > limit) break;
  }
  if (from > 0 && found <= limit) {  // in the midst of a line
    ssize_t n;
    while ((n = pread(file.fd, piece, sizeof piece, from)) > 0) {
      const char* newline = static_cast<const char*>(memchr(piece, '\n', static_cast<size_t>(n)));
      from += newline ? newline - piece + 1 : n;
      if (newline) break;
    }
  }
  for (off_t at = from; at < end;) {
    const ssize_t n = pread(file.fd, piece, sizeof piece, at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    lines.add(Slice(piece, static_cast<size_t>(n)));
    at += n;
  }
  bool first = true;
  for (Slice rest = lines; rest.size != 0;) {
    const char* newline = static_cast<const char*>(memchr(rest.data, '\n', rest.size));
    if (newline == nullptr) break;
    const size_t size = static_cast<size_t>(newline - rest.data);
    if (size > 1) {
      if (!first) out.add(',');
      first = false;
      out.add(rest.first(size));  // a line is JSON as it stands
    }
    rest = rest.from(size + 1);
  }
  out.add("]}");
  return 0;
}

void Sessions::list(Text& out) {
  struct Row {
    char* file;
    long long updated, messages;
  };
  Array<Row> rows;
  DIR* folder = opendir(folder_.c_str());
  while (folder != nullptr && rows.size() < most_considered) {
    const struct dirent* found = readdir(folder);
    if (found == nullptr) break;
    Text key;
    struct stat status;
    if (!key_of_file(Slice::of(found->d_name), key)) continue;
    if (fstatat(dirfd(folder), found->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode)) continue;
    char* name = strdup(found->d_name);
    if (name == nullptr) out_of_memory();
    rows.push({name, status.st_mtim.tv_sec * 1000LL + status.st_mtim.tv_nsec / 1000000, 0});
  }
  if (rows.size() > 1)
    qsort(rows.data(), rows.size(), sizeof(Row), [](const void* a, const void* b) {
      const long long x = static_cast<const Row*>(a)->updated, y = static_cast<const Row*>(b)->updated;
      return x == y ? strcmp(static_cast<const Row*>(a)->file, static_cast<const Row*>(b)->file) : (x < y ? 1 : -1);
    });
  out.add("{\"sessions\":[");
  size_t listed = 0;
  for (Row& row : rows) {
    if (listed >= most_listed) break;
    const File file(openat(dirfd(folder), row.file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    struct stat status;
    if (file.fd < 0 || fstat(file.fd, &status) != 0) continue;
    Entry& known = entry(Slice::of(row.file));
    if (refresh(known, file.fd, status.st_size) != 0) continue;
    Text key;
    key_of_file(Slice::of(row.file), key);
    if (listed++ != 0) out.add(',');
    out.add("{\"key\":");
    add_json_string(out, key);
    out.add(",\"messages\":").add_number(known.lines).add(",\"updatedAt\":").add_number(row.updated).add('}');
  }
  out.add("],\"total\":").add_number(static_cast<long long>(rows.size())).add('}');
  for (Row& row : rows) free(row.file);
  if (folder != nullptr) closedir(folder);
}

}  // namespace agent
