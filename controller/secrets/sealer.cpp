#include "controller/secrets/sealer.hpp"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <vector>

#include "controller/core/ids.hpp"

namespace creel::secrets {
namespace {

constexpr std::size_t kMasterBytes = 32;
static_assert(kMasterBytes == crypto_kdf_KEYBYTES);
constexpr std::size_t kKeyBytes = crypto_aead_xchacha20poly1305_ietf_KEYBYTES;
constexpr std::size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;

// What is derived from a master key, by number. Numbers are never given a second meaning.
enum Subkey : std::uint64_t { kSealing = 1, kHashing = 2, kNaming = 3 };
constexpr char kKdfContext[crypto_kdf_CONTEXTBYTES + 1] = "creelkey";

bool sodium_ready() {
  static const bool ready = sodium_init() >= 0;
  return ready;
}

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

Error file_error(const std::string& what, const std::string& path, int error) {
  std::string message = what + " " + path + ": " + std::strerror(error);
  if (error == EACCES || error == EPERM) message += "; run as the user that owns it, or set CREEL_MASTER_KEY_FILE";
  if (error == ENOSPC || error == EDQUOT) message += "; free some disk space";
  if (error == EROFS) message += "; set CREEL_STATE_DIR or CREEL_MASTER_KEY_FILE to a place that can be written";
  return Error{ErrorKind::failed, std::move(message)};
}

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }
  bool open() const { return fd_ >= 0; }

 private:
  int fd_;
};

// nullopt-like: errno ENOENT is told by `missing`.
Result<std::string> read_key_file(const std::string& path, bool& missing) {
  missing = false;
  const File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file.open()) {
    missing = errno == ENOENT;
    return file_error("cannot read the master key", path, errno);
  }
  struct stat info {};
  if (::fstat(file.fd(), &info) != 0) return file_error("cannot read the master key", path, errno);
  if (!S_ISREG(info.st_mode)) {
    return Error{ErrorKind::invalid, "the master key " + path + " is not a regular file; set CREEL_MASTER_KEY_FILE"};
  }
  if ((info.st_mode & 077) != 0) {
    return Error{ErrorKind::invalid,
                 "the master key " + path + " can be read by others than its owner; run: chmod 600 " + path};
  }
  std::string text(4096, '\0');
  const ssize_t count = ::read(file.fd(), text.data(), text.size());
  if (count < 0) return file_error("cannot read the master key", path, errno);
  text.resize(static_cast<std::size_t>(count));
  return text;
}

Result<void> write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return file_error("cannot write the master key", path, count == 0 ? EIO : errno);
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

std::string new_key() {
  std::array<unsigned char, kMasterBytes> key{};
  randombytes_buf(key.data(), key.size());
  std::string text(sodium_base64_encoded_len(kMasterBytes, sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(text.data(), text.size(), key.data(), key.size(), sodium_base64_VARIANT_ORIGINAL);
  sodium_memzero(key.data(), key.size());
  text.back() = '\n';  // in place of the terminating zero
  return text;
}

void sync_folder_of(const std::string& path) {
  const auto folder = std::filesystem::path{path}.parent_path();
  const File parent{::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (parent.open()) ::fsync(parent.fd());
}

// `text` in a new file `draft` beside `path`, safely on disk. `owner`: whose file it is to be.
Result<void> write_draft(const std::string& draft, const std::string& path, std::string text,
                         const struct stat* owner) {
  const File file{::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (!file.open()) return file_error("cannot write the master key", path, errno);
  auto written = write_all(file.fd(), text, path);
  sodium_memzero(text.data(), text.size());
  if (written && owner != nullptr && (owner->st_uid != ::geteuid() || owner->st_gid != ::getegid()) &&
      ::fchown(file.fd(), owner->st_uid, owner->st_gid) != 0)
    written = file_error("cannot keep the owner of the master key", path, errno);
  if (written && ::fsync(file.fd()) != 0) written = file_error("cannot write the master key", path, errno);
  if (!written) ::unlink(draft.c_str());
  return written;
}

// Writes beside `path` and links it there: complete or not at all, and never over one that is already there.
Result<void> create_key_file(const std::string& path, std::string text, const struct stat* owner = nullptr) {
  const auto folder = std::filesystem::path{path}.parent_path();
  if (!folder.empty()) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) return file_error("cannot make the folder", folder.string(), error.value());
  }
  const std::string draft = path + "." + random_hex(6);
  CREEL_CHECK(write_draft(draft, path, std::move(text), owner));
  const bool linked = ::link(draft.c_str(), path.c_str()) == 0;
  const int link_error = errno;
  ::unlink(draft.c_str());
  // EEXIST: another process was faster; its key is the one.
  if (!linked && link_error != EEXIST) return file_error("cannot write the master key", path, link_error);
  sync_folder_of(path);
  return {};
}

// The same over what is there, by one at a time. What a killed one left behind, keys, goes with the next.
Result<void> replace_key_file(const std::string& path, std::string text, const struct stat& owner) {
  const std::string draft = path + ".draft";
  ::unlink(draft.c_str());
  CREEL_CHECK(write_draft(draft, path, std::move(text), &owner));
  if (::rename(draft.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(draft.c_str());
    return file_error("cannot replace the master key", path, error);
  }
  sync_folder_of(path);
  return {};
}

struct KeyFile {
  std::string path;  // what a symbolic link leads to
  struct stat info {};
  std::vector<std::string> lines;  // one key each
  ~KeyFile() {
    for (auto& line : lines) sodium_memzero(line.data(), line.size());
  }
};

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const auto end = std::min(text.find_first_of(" \t\r\n,"), text.size());
    if (end > 0) words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

Result<KeyFile> read_lines(const std::string& path) {
  KeyFile file;
  std::error_code error;
  file.path = std::filesystem::canonical(path, error).string();
  if (error) return file_error("cannot read the master key", path, error.value());
  bool missing = false;
  CREEL_TRY(std::string text, read_key_file(file.path, missing));
  if (::stat(file.path.c_str(), &file.info) != 0) return file_error("cannot read the master key", path, errno);
  file.lines = words_of(text);
  sodium_memzero(text.data(), text.size());
  return file;
}

}  // namespace

struct Sealer::Keys {
  struct Key {
    std::string id;
    std::array<unsigned char, kKeyBytes> sealing{};
    std::array<unsigned char, kKeyBytes> hashing{};
    Key() = default;
    Key(const Key&) = default;
    Key& operator=(const Key&) = default;
    ~Key() {
      sodium_memzero(sealing.data(), sealing.size());
      sodium_memzero(hashing.data(), hashing.size());
    }
  };
  std::vector<Key> all;  // never empty
  std::size_t sealing = 0;
  std::string kept_hash_key;  // "": derived from the key that seals

  const Key* find(std::string_view id) const {
    for (const Key& key : all)
      if (key.id == id) return &key;
    return nullptr;
  }
  static Result<Key> derive(std::string_view text);
};

struct Sealer::Ring {
  mutable std::mutex mutex;
  std::shared_ptr<const Keys> keys;
  std::string path;  // "": there is no file to read again
};

Sealer::Sealer(std::shared_ptr<const Keys> keys) : ring_(std::make_shared<Ring>()) { ring_->keys = std::move(keys); }

std::shared_ptr<const Sealer::Keys> Sealer::keys() const {
  const std::lock_guard lock{ring_->mutex};
  return ring_->keys;
}

Result<Sealer::Keys::Key> Sealer::Keys::derive(std::string_view text) {
  std::array<unsigned char, kMasterBytes> master{};
  bool good = false;
  for (const int variant : {sodium_base64_VARIANT_ORIGINAL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING}) {
    std::size_t length = 0;
    const char* end = nullptr;
    good = sodium_base642bin(master.data(), master.size(), text.data(), text.size(), nullptr, &length, &end, variant) ==
               0 &&
           length == kMasterBytes && end == text.data() + text.size();
    if (good) break;
  }
  if (!good) {
    sodium_memzero(master.data(), master.size());
    return invalid("CREEL_MASTER_KEY",
                   "the master key is not 32 bytes in base64; make one with: openssl rand -base64 32");
  }
  Key key;
  std::array<unsigned char, crypto_kdf_BYTES_MIN> name{};
  crypto_kdf_derive_from_key(key.sealing.data(), key.sealing.size(), kSealing, kKdfContext, master.data());
  crypto_kdf_derive_from_key(key.hashing.data(), key.hashing.size(), kHashing, kKdfContext, master.data());
  crypto_kdf_derive_from_key(name.data(), name.size(), kNaming, kKdfContext, master.data());
  sodium_memzero(master.data(), master.size());
  key.id = to_hex({reinterpret_cast<const char*>(name.data()), 8});
  return key;
}

Result<Sealer> Sealer::from_base64(std::string text) {
  if (!sodium_ready()) return Error{ErrorKind::internal, "libsodium cannot be initialised"};
  auto keys = std::make_shared<Keys>();
  auto words = words_of(text);
  sodium_memzero(text.data(), text.size());
  if (words.empty()) words.emplace_back();  // refused below
  Result<void> good;
  for (std::string& word : words) {
    auto key = Keys::derive(word);
    sodium_memzero(word.data(), word.size());
    if (!key)
      good = key.error();
    else if (keys->find(key->id) == nullptr)
      keys->all.push_back(std::move(*key));
  }
  if (!good) return good.error();
  return Sealer{std::move(keys)};
}

Result<Sealer> Sealer::load_or_create(const std::string& path) {
  if (!sodium_ready()) return Error{ErrorKind::internal, "libsodium cannot be initialised"};
  bool missing = false;
  auto text = read_key_file(path, missing);
  if (!text && missing) {
    CREEL_CHECK(create_key_file(path, new_key()));
    text = read_key_file(path, missing);
  }
  if (!text) return text.error();
  auto sealer = from_base64(std::move(*text));
  if (!sealer) {
    return invalid(
        "CREEL_MASTER_KEY_FILE",
        "the master key " + path +
            " is not 32 bytes in base64; put the right file back (a new key cannot open what the old one sealed)");
  }
  sealer->ring_->path = path;
  return sealer;
}

Result<Sealer> Sealer::load(const std::string& key, const std::string& previous, const std::string& path) {
  CREEL_TRY(Sealer sealer, key.empty() ? load_or_create(path) : from_base64(key));
  if (previous.empty()) return sealer;
  CREEL_TRY(const Sealer old, from_base64(previous));
  const std::string file = sealer.ring_->path;
  sealer = sealer.with_old_key(old);
  sealer.ring_->path = file;
  return sealer;
}

Sealer Sealer::with_old_key(const Sealer& old) const {
  auto keys = std::make_shared<Keys>(*this->keys());
  for (const auto& key : old.keys()->all)
    if (keys->find(key.id) == nullptr) keys->all.push_back(key);
  return Sealer{std::move(keys)};
}

Result<void> Sealer::refresh() const {
  if (ring_->path.empty()) return {};
  bool missing = false;
  CREEL_TRY(std::string text, read_key_file(ring_->path, missing));
  const auto read = from_base64(std::move(text));
  if (!read)
    return invalid("CREEL_MASTER_KEY_FILE",
                   "the master key " + ring_->path + " is not 32 bytes in base64, a key a line");
  const std::lock_guard lock{ring_->mutex};
  const Keys& now = *ring_->keys;
  auto next = std::make_shared<Keys>(*read->keys());
  for (const auto& key : now.all)
    if (next->find(key.id) == nullptr) next->all.push_back(key);
  next->sealing = static_cast<std::size_t>(next->find(now.all[now.sealing].id) - next->all.data());
  next->kept_hash_key = now.kept_hash_key;
  ring_->keys = std::move(next);
  return {};
}

bool Sealer::use(std::string_view key_id) {
  const std::lock_guard lock{ring_->mutex};
  const Keys& now = *ring_->keys;
  const auto* key = now.find(key_id);
  if (key == nullptr) return false;
  if (key == &now.all[now.sealing]) return true;
  auto next = std::make_shared<Keys>(now);
  next->sealing = static_cast<std::size_t>(key - now.all.data());
  ring_->keys = std::move(next);
  return true;
}

Sealed Sealer::seal(std::string_view plain, std::string_view context) const {
  const auto keys = this->keys();
  const auto& key = keys->all[keys->sealing];
  Sealed sealed{key.id, std::string(kNonceBytes, '\0'), std::string(plain.size() + kTagBytes, '\0')};
  randombytes_buf(sealed.nonce.data(), sealed.nonce.size());
  unsigned long long length = 0;
  crypto_aead_xchacha20poly1305_ietf_encrypt(bytes_of(sealed.ciphertext), &length, bytes_of(plain), plain.size(),
                                             bytes_of(context), context.size(), nullptr, bytes_of(sealed.nonce),
                                             key.sealing.data());
  sealed.ciphertext.resize(length);
  return sealed;
}

Result<std::string> Sealer::open(const Sealed& sealed, std::string_view context) const {
  auto keys = this->keys();
  const Keys::Key* key = keys->find(sealed.key_id);
  // Another controller has begun to seal with a key that was put into the file a moment ago.
  if (key == nullptr && refresh()) {
    keys = this->keys();
    key = keys->find(sealed.key_id);
  }
  if (key == nullptr) {
    return Error{ErrorKind::corrupt,
                 "sealed with another master key (key id " + sealed.key_id + ", the present one is " + key_id() + ")"};
  }
  const Error damaged{ErrorKind::corrupt, "a sealed value does not open: it is damaged or belongs to another place"};
  if (sealed.nonce.size() != kNonceBytes || sealed.ciphertext.size() < kTagBytes) return damaged;
  std::string plain(sealed.ciphertext.size() - kTagBytes, '\0');
  unsigned long long length = 0;
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(bytes_of(plain), &length, nullptr, bytes_of(sealed.ciphertext),
                                                 sealed.ciphertext.size(), bytes_of(context), context.size(),
                                                 bytes_of(sealed.nonce), key->sealing.data()) != 0) {
    return damaged;
  }
  plain.resize(length);
  return plain;
}

std::string Sealer::key_id() const {
  const auto keys = this->keys();
  return keys->all[keys->sealing].id;
}

std::vector<std::string> Sealer::key_ids() const {
  std::vector<std::string> ids;
  for (const auto keys = this->keys(); const auto& key : keys->all) ids.push_back(key.id);
  return ids;
}

std::string Sealer::hash_key_of(std::string_view key_id) const {
  const auto keys = this->keys();
  const auto* key = keys->find(key_id);
  if (key == nullptr) key = &keys->all[keys->sealing];
  return {reinterpret_cast<const char*>(key->hashing.data()), key->hashing.size()};
}

std::string Sealer::hash_key() const {
  const auto keys = this->keys();
  return keys->kept_hash_key.empty() ? hash_key_of(keys->all[keys->sealing].id) : keys->kept_hash_key;
}

void Sealer::keep_hash_key(std::string hash_key) {
  const std::lock_guard lock{ring_->mutex};
  auto next = std::make_shared<Keys>(*ring_->keys);
  next->kept_hash_key = std::move(hash_key);
  ring_->keys = std::move(next);
}

Result<void> add_master_key(const std::string& path) {
  if (!sodium_ready()) return Error{ErrorKind::internal, "libsodium cannot be initialised"};
  CREEL_TRY(const KeyFile file, read_lines(path));
  std::string text = new_key();
  for (const auto& line : file.lines) text += line + "\n";
  return replace_key_file(file.path, std::move(text), file.info);
}

Result<void> keep_master_key(const std::string& path, std::string_view key_id) {
  CREEL_TRY(const KeyFile file, read_lines(path));
  std::string kept;
  std::vector<std::pair<std::string, std::string>> others;  // id, line
  for (const auto& line : file.lines) {
    CREEL_TRY(const Sealer key, Sealer::from_base64(line));
    if (key.key_id() == key_id)
      kept = line + "\n";
    else
      others.emplace_back(key.key_id(), line + "\n");
  }
  if (kept.empty()) return invalid("CREEL_MASTER_KEY_FILE", path + " does not hold the key " + std::string{key_id});
  if (others.empty()) return {};
  for (auto& [id, line] : others) CREEL_CHECK(create_key_file(file.path + ".old-" + id, std::move(line), &file.info));
  return replace_key_file(file.path, std::move(kept), file.info);
}

std::string secret_context(std::string_view agent_id, std::string_view name) {
  std::string context{agent_id};
  context += '/';
  context += name;
  return context;
}

}  // namespace creel::secrets
