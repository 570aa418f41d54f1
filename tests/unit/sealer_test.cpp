#include "controller/secrets/sealer.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "controller/secrets/password.hpp"

namespace creel::secrets {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
constexpr const char* kOtherKey = "HxAREhMUFRYXGBkaGxwdHgABAgMEBQYHCAkKCwwNDg8=";

Sealer sealer_of(const char* key) { return Sealer::from_base64(key).value(); }

class KeyFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "creel-key-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path() const { return folder_ / "master.key"; }
  void write(const std::string& text, mode_t mode) const {
    std::ofstream{path()} << text;
    ASSERT_EQ(::chmod(path().c_str(), mode), 0);
  }
  std::filesystem::path folder_;
};

TEST(Sealer, OpensWhatItSealed) {
  const auto sealer = sealer_of(kKey);
  const std::string plain{"tok\0en", 6};
  const auto sealed = sealer.seal(plain, "0123456789abcdef/gateway_token");
  EXPECT_THAT(sealed.ciphertext, Not(HasSubstr("tok")));
  const auto opened = sealer.open(sealed, "0123456789abcdef/gateway_token");
  ASSERT_TRUE(opened);
  EXPECT_EQ(*opened, plain);
}

TEST(Sealer, SealsAnEmptyText) {
  const auto sealer = sealer_of(kKey);
  EXPECT_EQ(sealer.open(sealer.seal("", "a/b"), "a/b").value(), "");
}

TEST(Sealer, SealsTheSameTextDifferentlyEachTime) {
  const auto sealer = sealer_of(kKey);
  EXPECT_NE(sealer.seal("x", "a/b"), sealer.seal("x", "a/b"));
}

TEST(Sealer, DoesNotOpenUnderAnotherContext) {
  const auto sealer = sealer_of(kKey);
  const auto opened = sealer.open(sealer.seal("secret", "agent-a/files"), "agent-b/files");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind, ErrorKind::corrupt);
  EXPECT_THAT(opened.error().message, Not(HasSubstr("secret")));
}

TEST(Sealer, NamesTheOtherMasterKey) {
  const auto old = sealer_of(kOtherKey);
  const auto opened = sealer_of(kKey).open(old.seal("secret", "a/b"), "a/b");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind, ErrorKind::corrupt);
  EXPECT_THAT(opened.error().message, HasSubstr("another master key"));
  EXPECT_THAT(opened.error().message, HasSubstr(old.key_id()));
}

TEST(Sealer, RefusesEveryChangedByte) {
  const auto sealer = sealer_of(kKey);
  const auto sealed = sealer.seal("text", "a/b");
  for (std::size_t i = 0; i < sealed.ciphertext.size(); ++i) {
    auto changed = sealed;
    changed.ciphertext[i] ^= 1;
    EXPECT_FALSE(sealer.open(changed, "a/b")) << i;
  }
  auto cut = sealed;
  cut.ciphertext.resize(3);
  EXPECT_FALSE(sealer.open(cut, "a/b"));
  cut = sealed;
  cut.nonce.clear();
  EXPECT_FALSE(sealer.open(cut, "a/b"));
}

TEST(Sealer, KeyIdAndHashKeyAreStableAndDifferBetweenKeys) {
  EXPECT_EQ(sealer_of(kKey).key_id(), sealer_of(kKey).key_id());
  EXPECT_EQ(sealer_of(kKey).key_id().size(), 16u);
  EXPECT_NE(sealer_of(kKey).key_id(), sealer_of(kOtherKey).key_id());
  EXPECT_EQ(sealer_of(kKey).hash_key().size(), 32u);
  EXPECT_EQ(sealer_of(kKey).hash_key(), sealer_of(kKey).hash_key());
  EXPECT_NE(sealer_of(kKey).hash_key(), sealer_of(kOtherKey).hash_key());
}

TEST(Sealer, AfterARotationOpensOldRowsAndSealsWithTheNewKey) {
  const auto old = sealer_of(kOtherKey);
  const auto rotated = sealer_of(kKey).with_old_key(old);
  EXPECT_EQ(rotated.open(old.seal("x", "a/b"), "a/b").value(), "x");
  EXPECT_EQ(rotated.seal("x", "a/b").key_id, sealer_of(kKey).key_id());
  EXPECT_FALSE(old.open(rotated.seal("x", "a/b"), "a/b"));
}

TEST(Sealer, SealsWithTheKeyItIsToldToAndOpensWithAllOfItsRing) {
  auto ring = Sealer::from_base64(std::string{kKey} + "\n" + kOtherKey + "\n").value();
  const Sealer copy = ring;
  EXPECT_THAT(ring.key_ids(), testing::ElementsAre(sealer_of(kKey).key_id(), sealer_of(kOtherKey).key_id()));
  EXPECT_EQ(ring.key_id(), sealer_of(kKey).key_id());
  EXPECT_FALSE(ring.use("0123456789abcdef"));
  EXPECT_TRUE(ring.use(sealer_of(kOtherKey).key_id()));
  EXPECT_EQ(copy.seal("x", "a/b").key_id, sealer_of(kOtherKey).key_id()) << "copies share the ring";
  EXPECT_EQ(ring.open(sealer_of(kKey).seal("x", "a/b"), "a/b").value(), "x");
}

TEST(Sealer, HashesTheSameThroughARotationOnceItIsToldTheHashKey) {
  auto ring = sealer_of(kKey).with_old_key(sealer_of(kOtherKey));
  ring.keep_hash_key(ring.hash_key_of(sealer_of(kOtherKey).key_id()));
  EXPECT_EQ(ring.hash_key(), sealer_of(kOtherKey).hash_key());
  ring.use(sealer_of(kOtherKey).key_id());
  ring.use(sealer_of(kKey).key_id());
  EXPECT_EQ(ring.hash_key(), sealer_of(kOtherKey).hash_key());
}

TEST(Sealer, TakesAKeyWithoutPaddingAndWithBlanks) {
  EXPECT_EQ(sealer_of("  AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n").key_id(), sealer_of(kKey).key_id());
}

TEST(Sealer, RefusesWhatIsNotAKeyWithoutRepeatingIt) {
  for (const char* text :
       {"", "hunter2", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIj", "!!ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}) {
    const auto sealer = Sealer::from_base64(text);
    ASSERT_FALSE(sealer) << text;
    EXPECT_EQ(sealer.error().kind, ErrorKind::invalid);
    EXPECT_THAT(sealer.error().message, HasSubstr("openssl rand -base64 32"));
    EXPECT_THAT(sealer.error().message, Not(HasSubstr("hunter2")));
  }
}

TEST_F(KeyFile, IsMadeOnceAndReadBack) {
  const auto first = Sealer::load_or_create(path());
  ASSERT_TRUE(first) << first.error().message;
  struct stat info {};
  ASSERT_EQ(::stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(Sealer::load_or_create(path()).value().key_id(), first->key_id());
  // No draft is left beside it.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator{folder_}, {}), 1);
}

TEST_F(KeyFile, IsTheSameForAllWhoMakeItAtOnce) {
  std::vector<std::string> ids(8);
  std::atomic<int> waiting{0};
  {
    std::vector<std::jthread> threads;
    for (auto& id : ids) {
      threads.emplace_back([&] {
        ++waiting;
        while (waiting < static_cast<int>(ids.size())) std::this_thread::yield();
        if (auto sealer = Sealer::load_or_create(path())) id = sealer->key_id();
      });
    }
  }
  EXPECT_THAT(ids, testing::Each(ids[0]));
  EXPECT_FALSE(ids[0].empty());
}

TEST_F(KeyFile, IsRefusedWhenOthersMayReadIt) {
  write(kKey, 0640);
  const auto sealer = Sealer::load_or_create(path());
  ASSERT_FALSE(sealer);
  EXPECT_THAT(sealer.error().message, HasSubstr("chmod 600 " + path()));
}

TEST_F(KeyFile, TakesANewKeyInFrontAndGivesUpTheOldOneWithoutLosingIt) {
  auto running = Sealer::load_or_create(path()).value();
  const std::string old = running.key_id();
  ASSERT_TRUE(add_master_key(path()));
  const auto both = Sealer::load_or_create(path()).value();
  ASSERT_EQ(both.key_ids().size(), 2u);
  EXPECT_EQ(both.key_ids()[1], old);
  const std::string wanted = both.key_ids()[0];
  // Whoever has read the file before opens what the new key has sealed: the file is read again.
  EXPECT_EQ(running.open(both.seal("x", "a/b"), "a/b").value(), "x");
  EXPECT_EQ(running.key_id(), old) << "and seals as before until it is told";
  ASSERT_TRUE(keep_master_key(path(), wanted));
  const auto after = Sealer::load_or_create(path()).value();
  EXPECT_THAT(after.key_ids(), testing::ElementsAre(wanted));
  EXPECT_EQ(Sealer::load_or_create(path() + ".old-" + old).value().key_id(), old);
  ASSERT_TRUE(running.refresh());
  EXPECT_EQ(running.key_ids().size(), 2u) << "what was read before still opens";
  ASSERT_TRUE(keep_master_key(path(), wanted)) << "repeated";
  EXPECT_FALSE(keep_master_key(path(), old));
  struct stat info {};
  ASSERT_EQ(::stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator{folder_}, {}), 2) << "no draft is left";
}

TEST_F(KeyFile, IsNeverReplacedWhenItIsDamaged) {
  write("garbage\n", 0600);
  const auto sealer = Sealer::load_or_create(path());
  ASSERT_FALSE(sealer);
  EXPECT_THAT(sealer.error().message, HasSubstr(path()));
  std::stringstream text;
  text << std::ifstream{path()}.rdbuf();
  EXPECT_EQ(text.str(), "garbage\n");
}

TEST(Password, VerifiesTheRightOneOnly) {
  const auto hash = hash_password("correct horse").value();
  EXPECT_THAT(hash, testing::StartsWith("$argon2id$"));
  EXPECT_TRUE(verify_password("correct horse", hash));
  EXPECT_FALSE(verify_password("correct hors", hash));
  EXPECT_FALSE(verify_password("", hash));
}

TEST(Password, FailsForAHashThatCannotBeRead) {
  EXPECT_FALSE(verify_password("x", ""));
  EXPECT_FALSE(verify_password("x", "not a hash"));
}

TEST(Password, TakesAsLongForNobodyAsForSomebody) {
  const auto hash = hash_password("x").value();
  const auto time_of = [](auto work) {
    auto best = std::chrono::steady_clock::duration::max();
    for (int i = 0; i < 3; ++i) {
      const auto start = std::chrono::steady_clock::now();
      work();
      best = std::min(best, std::chrono::steady_clock::now() - start);
    }
    return std::chrono::duration<double>(best).count();
  };
  const double real = time_of([&] { (void)verify_password("y", hash); });
  // Far apart only if no hash is computed at all: that takes microseconds instead of tens of milliseconds.
  EXPECT_GT(time_of([] { verify_nobody("y"); }), real / 5);
  EXPECT_GT(time_of([] { (void)verify_password("y", "not a hash"); }), real / 5);
}

}  // namespace
}  // namespace creel::secrets
