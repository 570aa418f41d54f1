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

namespace {

constexpr std::uint64_t kRecordMax = 1u << 20;

std::uint64_t padded(std::uint64_t size) { return (size + kBlock - 1) / kBlock * kBlock; }

std::string_view text_of(std::string_view field) { return field.substr(0, field.find('\0')); }

// Octal digits, or with the first bit set a number of base 256.
std::optional<std::uint64_t> number_of(std::string_view field) {
  std::uint64_t value = 0;
  if ((static_cast<unsigned char>(field[0]) & 0x80) != 0) {
    for (std::size_t i = 1; i < field.size(); ++i) value = value << 8 | static_cast<unsigned char>(field[i]);
    return value;
  }
  for (const char c : field) {
    if (c >= '0' && c <= '7')
      value = value << 3 | static_cast<std::uint64_t>(c - '0');
    else if (c != ' ' && c != '\0')
      return std::nullopt;
  }
  return value;
}

// The "path" of pax records: "27 path=some/long/name\n".
std::string path_of_records(std::string_view records) {
  std::string path;
  while (!records.empty()) {
    const auto space = records.find(' ');
    const std::size_t length = std::strtoul(std::string{records.substr(0, space)}.c_str(), nullptr, 10);
    if (space == std::string_view::npos || length <= space + 1 || length > records.size()) break;
    const std::string_view record = records.substr(space + 1, length - space - 2);
    if (record.starts_with("path=")) path = record.substr(5);
    records.remove_prefix(length);
  }
  return path;
}

}  // namespace

std::optional<std::string> first_file(std::string_view archive) {
  while (archive.size() >= kBlock) {
    const auto size = number_of(archive.substr(124, 12));
    const char type = archive[156];
    archive.remove_prefix(kBlock);
    if (!size || *size > archive.size()) return std::nullopt;
    if (type == '0' || type == '\0') return std::string{archive.substr(0, *size)};
    if (type != 'x' && type != 'g') return std::nullopt;  // pax records stand before what they are about
    archive.remove_prefix(std::min<std::uint64_t>(archive.size(), padded(*size)));
  }
  return std::nullopt;
}

Result<void> TarReader::header(const Take& take) {
  const std::string_view b = block_;
  if (b.find_first_not_of('\0') == std::string_view::npos) {  // the end mark
    ended_ = true;
    return {};
  }
  const auto size = number_of(b.substr(124, 12));
  const auto mode = number_of(b.substr(100, 8));
  const auto uid = number_of(b.substr(108, 8));
  const auto gid = number_of(b.substr(116, 8));
  if (b.substr(257, 5) != "ustar" || !size || !mode || !uid || !gid)
    return Error{ErrorKind::failed, "the engine sent something that is no archive"};
  const char type = b[156] == '\0' ? '0' : b[156];
  if (type == 'x' || type == 'L') {
    if (*size > kRecordMax) return Error{ErrorKind::failed, "a name in the engine's archive is too long"};
    record_type_ = type;
    record_ = *size;
    records_.clear();
    skip_ = padded(*size) - *size;
    return {};
  }
  const bool has_content = type == '0' || type == 'g' || type == 'K';
  skip_ = has_content ? padded(*size) : 0;
  if (type == 'g' || type == 'K') return {};
  TarEntry entry{type,
                 std::move(long_path_),
                 static_cast<int>(*mode & 07777),
                 {static_cast<int>(*uid), static_cast<int>(*gid)},
                 has_content ? *size : 0};
  long_path_.clear();
  if (entry.path.empty()) {
    const std::string_view prefix = text_of(b.substr(345, 155));
    entry.path = std::string{prefix} + (prefix.empty() ? "" : "/") + std::string{text_of(b.substr(0, kNameMax))};
  }
  take(entry);
  return {};
}

Result<void> TarReader::push(std::string_view bytes, const Take& take) {
  const auto some = [&bytes](std::uint64_t most) {
    const std::string_view piece =
        bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(most, bytes.size())));
    bytes.remove_prefix(piece.size());
    return piece;
  };
  while (!bytes.empty()) {
    if (record_ > 0) {
      const auto piece = some(record_);
      records_ += piece;
      record_ -= piece.size();
      if (record_ == 0) long_path_ = record_type_ == 'x' ? path_of_records(records_) : std::string{text_of(records_)};
    } else if (skip_ > 0) {
      skip_ -= some(skip_).size();
    } else {
      block_ += some(kBlock - block_.size());
      if (block_.size() < kBlock) return {};
      CREEL_CHECK(header(take));
      block_.clear();
    }
  }
  return {};
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
