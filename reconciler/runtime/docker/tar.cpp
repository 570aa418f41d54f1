#include "reconciler/runtime/docker/tar.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <set>

namespace creel::docker {

namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kNameMax = 100;
constexpr int kIdMax = 07777777;  // what seven octal digits hold

// Octal digits with a closing NUL, as every numeric field of ustar.
void put_octal(char* field, std::size_t width, std::uint64_t value) {
  for (std::size_t i = width - 1; i-- > 0; value >>= 3) field[i] = static_cast<char>('0' + (value & 7));
  field[width - 1] = '\0';
}

void put_text(char* field, std::size_t width, std::string_view text) {
  std::memcpy(field, text.data(), std::min(width, text.size()));
}

// "27 path=some/long/name\n": the length counts itself.
std::string pax_record(std::string_view key, std::string_view value) {
  const std::size_t rest = key.size() + value.size() + 3;
  std::size_t length = rest + 1;
  while (std::to_string(length).size() + rest != length) length = std::to_string(length).size() + rest;
  return std::to_string(length) + " " + std::string{key} + "=" + std::string{value} + "\n";
}

}  // namespace

void TarWriter::pad() {
  if (const std::size_t over = out_.size() % kBlock; over != 0) out_.append(kBlock - over, '\0');
}

void TarWriter::header(char type, std::string_view path, std::string_view link, std::size_t size, int mode,
                       Owner owner) {
  std::string records;
  if (path.size() > kNameMax) records += pax_record("path", path);
  if (link.size() > kNameMax) records += pax_record("linkpath", link);
  if (owner.uid > kIdMax) records += pax_record("uid", std::to_string(owner.uid));
  if (owner.gid > kIdMax) records += pax_record("gid", std::to_string(owner.gid));
  if (!records.empty()) {
    header('x', "pax", "", records.size(), 0600, Owner{});
    out_ += records;
    pad();
  }
  std::array<char, kBlock> block{};
  char* const b = block.data();
  put_text(b, kNameMax, path);
  put_octal(b + 100, 8, static_cast<std::uint64_t>(mode & 07777));
  put_octal(b + 108, 8, static_cast<std::uint64_t>(std::clamp(owner.uid, 0, kIdMax)));
  put_octal(b + 116, 8, static_cast<std::uint64_t>(std::clamp(owner.gid, 0, kIdMax)));
  put_octal(b + 124, 12, size);
  put_octal(b + 136, 12, static_cast<std::uint64_t>(std::max<std::int64_t>(mtime_, 0)));
  std::memset(b + 148, ' ', 8);  // the checksum counts its own field as blanks
  b[156] = type;
  put_text(b + 157, kNameMax, link);
  std::memcpy(b + 257,
              "ustar\0"
              "00",
              8);
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  std::snprintf(b + 148, 8, "%06o", sum);
  b[155] = ' ';
  out_.append(b, kBlock);
}

void TarWriter::directory(std::string_view path, int mode, Owner owner) { header('5', path, "", 0, mode, owner); }

void TarWriter::file(std::string_view path, std::string_view content, int mode, Owner owner) {
  header('0', path, "", content.size(), mode, owner);
  out_ += content;
  pad();
}

void TarWriter::hard_link(std::string_view path, std::string_view target, int mode, Owner owner) {
  header('1', path, target, 0, mode, owner);
}

std::string TarWriter::finish() {
  out_.append(2 * kBlock, '\0');
  return std::move(out_);
}

namespace {

Result<void> check_path(const std::string& path) {
  const auto refuse = [&](const char* why) { return invalid("files", "file path \"" + path + "\" " + why); };
  if (path.empty()) return refuse("is empty");
  if (path.find('\0') != std::string::npos || path.find('\n') != std::string::npos) {
    return invalid("files", "a file path holds a control character");
  }
  if (path == kDeliveryName) return refuse("is reserved");
  for (std::size_t at = 0; at <= path.size();) {
    const auto slash = std::min(path.find('/', at), path.size());
    const std::string_view part{path.data() + at, slash - at};
    if (part.empty() || part == "." || part == "..") return refuse("is not a plain relative path");
    at = slash + 1;
  }
  return {};
}

}  // namespace

std::optional<std::string> first_file(std::string_view archive) {
  while (archive.size() >= kBlock) {
    std::uint64_t size = 0;
    for (const char c : archive.substr(124, 12)) {
      if (c >= '0' && c <= '7')
        size = size << 3 | static_cast<std::uint64_t>(c - '0');
      else if (c != ' ' && c != '\0')
        return std::nullopt;  // more than octal digits can say: no file of ours
    }
    const char type = archive[156];
    archive.remove_prefix(kBlock);
    if (size > archive.size()) return std::nullopt;
    if (type == '0' || type == '\0') return std::string{archive.substr(0, size)};
    if (type != 'x' && type != 'g') return std::nullopt;  // pax records stand before what they are about
    archive.remove_prefix(std::min(archive.size(), (size + kBlock - 1) / kBlock * kBlock));
  }
  return std::nullopt;
}

// The engine unpacks a regular file by truncating and filling it, so that a reader could see half of it. So the content
// arrives under a hidden name, and an archive entry "hard link" then gives the complete file its final name: for a link
// the engine removes the old name and links the new one. A reader holds the old file, or finds the whole new one, or
// (for microseconds) none. The hidden name is then taken for the next file, and at last for an empty one: no second
// name of a secret stays behind, nothing accumulates, and an interrupted delivery leaves nothing that the next one
// would not replace.
//
// The root is written as "/": the engine skips an entry named "." for a folder that exists, but not this one, which it
// resolves to the same folder. Verified on the engine by the integration tests, and by DockerRuntime at each create.
Result<std::string> delivery_archive(const std::vector<VolumeFile>& files, std::optional<Owner> root,
                                     std::int64_t mtime_seconds) {
  TarWriter tar{mtime_seconds};
  if (root) tar.directory("/", 0700, *root);
  std::set<std::string> made;
  std::optional<Owner> last;
  for (const auto& file : files) {
    CREEL_CHECK(check_path(file.path));
    if (file.uid < 0 || file.gid < 0) return invalid("files", "file \"" + file.path + "\" has a negative owner");
    const Owner owner{file.uid, file.gid};
    for (auto slash = file.path.find('/'); slash != std::string::npos; slash = file.path.find('/', slash + 1)) {
      const std::string folder = file.path.substr(0, slash);
      if (made.insert(folder).second) tar.directory(folder + "/", 0700, owner);
    }
    tar.file(kDeliveryName, file.content, file.mode, owner);
    tar.hard_link(file.path, kDeliveryName, file.mode, owner);
    last = owner;
  }
  if (last) tar.file(kDeliveryName, "", 0600, *last);
  return tar.finish();
}

}  // namespace creel::docker
