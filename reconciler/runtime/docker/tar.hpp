// Tar archives for the engine's archive endpoint: ustar, with a pax record where a name is too long for it. Pure.
//
// A delivery never shows a partial file: see delivery_archive.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controller/core/agent.hpp"
#include "controller/core/result.hpp"

namespace creel::docker {

struct Owner {
  int uid = 0;
  int gid = 0;
};

class TarWriter {
 public:
  explicit TarWriter(std::int64_t mtime_seconds) : mtime_(mtime_seconds) {}
  // Modes are permission bits; paths are relative to the folder the archive is unpacked in.
  void directory(std::string_view path, int mode, Owner owner);
  void file(std::string_view path, std::string_view content, int mode, Owner owner);
  void hard_link(std::string_view path, std::string_view target, int mode, Owner owner);
  // The whole archive with its end mark. The writer is used up.
  std::string finish();

 private:
  void header(char type, std::string_view path, std::string_view link, std::size_t size, int mode, Owner owner);
  void pad();

  std::int64_t mtime_;
  std::string out_;
};

// The content of the archive's first entry when that is a regular file; nullopt: it is something else, or incomplete.
std::optional<std::string> first_file(std::string_view archive);

// One entry of an archive, as far as its header tells.
struct TarEntry {
  char type = '0';   // '0' file, '5' folder, '2' symbolic link, …
  std::string path;  // as it stands: folders end in "/"
  int mode = 0;      // permission bits
  Owner owner;
  std::uint64_t size = 0;
};

// Reads the headers of an archive that comes in pieces, and passes over the contents.
class TarReader {
 public:
  using Take = std::function<void(const TarEntry&)>;
  // failed: these are no archive's bytes.
  Result<void> push(std::string_view bytes, const Take& take);
  // The end mark has come: without it there is more that was not sent.
  bool ended() const { return ended_; }

 private:
  Result<void> header(const Take& take);

  std::string block_;         // of a header or a record, as far as it has come
  std::string records_;       // pax or GNU text about the entry to come
  char record_type_ = 0;      // of what is being read into records_; 0 = nothing
  std::uint64_t record_ = 0;  // bytes of it still to come
  std::uint64_t skip_ = 0;    // bytes of content and padding still to come
  bool ended_ = false;
  std::string long_path_;  // said by a record, for the next entry
};

// Name under which file contents arrive; an empty file of that name stays in the volume's root.
inline constexpr const char* kDeliveryName = ".creel-delivery";

// The archive that puts `files` into a volume. With `root`, the volume's root itself gets that owner and mode 0700.
// invalid: a path is absolute, empty, holds "..", or is the delivery name itself.
Result<std::string> delivery_archive(const std::vector<VolumeFile>& files, std::optional<Owner> root,
                                     std::int64_t mtime_seconds);

}  // namespace creel::docker
