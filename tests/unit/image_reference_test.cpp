#include "controller/core/image_reference.hpp"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace creel {
namespace {

TEST(ImageReference, IsTakenApart) {
  const std::string digest = "sha256:" + std::string(64, 'a');
  const std::vector<std::pair<std::string, ImageReference>> good{
      {"busybox", {"busybox", "", ""}},
      {"busybox:1.36", {"busybox", "1.36", ""}},
      {"library/busybox:1", {"library/busybox", "1", ""}},
      {"localhost:5000/a/b", {"localhost:5000/a/b", "", ""}},
      {"127.0.0.1:5000/a:v1", {"127.0.0.1:5000/a", "v1", ""}},
      {"ghcr.io/openclaw/openclaw:2026.3.13", {"ghcr.io/openclaw/openclaw", "2026.3.13", ""}},
      {"b:2", {"b", "2", ""}},
      {"Registry.example/a:1", {"Registry.example/a", "1", ""}},
      {"a/b@" + digest, {"a/b", "", digest}},
      {"host:1/a/b:tag@" + digest, {"host:1/a/b", "tag", digest}},
  };
  for (const auto& [text, expected] : good) {
    const auto parsed = parse_image_reference(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(*parsed, expected) << text;
    EXPECT_NE(parsed->version(), "") << "an empty one would pull every tag";
  }
  EXPECT_EQ(parse_image_reference("a:t@" + digest)->version(), digest);
}

TEST(ImageReference, RefusesWhatIsNone) {
  for (const char* text :
       {"",    ":",     "a:", ":tag",        "/a",    "a/",  "a//b",        "A/B",  "A/b:1", "host.example/A:1",
        "a b", "a:b c", "a@", "a@sha256:12", "a?x=1", "a#b", "a@sha256:zz", "a:.x", "a:-x",  "../../etc?"}) {
    EXPECT_FALSE(parse_image_reference(text)) << text;
  }
  EXPECT_FALSE(parse_image_reference(std::string(300, 'a')));
}

TEST(ImageReference, ThatNamesNeitherTagNorDigestStaysNotTheSame) {
  EXPECT_FALSE(parse_fixed_image("localhost:5000/b"));
  EXPECT_FALSE(parse_fixed_image("a:"));
  EXPECT_TRUE(parse_fixed_image("localhost:5000/b:1"));
  EXPECT_TRUE(parse_fixed_image("b@sha256:" + std::string(64, '0')));
  EXPECT_EQ(parse_image_reference("busybox")->version(), "latest");
}

}  // namespace
}  // namespace creel
