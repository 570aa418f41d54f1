// SecretScan: planted secrets, and the search for them in whatever a test can get hold of, in each form that a program
// would write them in by itself: as they are, as JSON or a URL writes them, in hex, and in base64 (either alphabet,
// wherever in the encoded text they begin). It counts where it looked, because a search that saw nothing finds nothing.
// Tests only.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <iomanip>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "controller/core/ids.hpp"

namespace creel::test {

class SecretScan {
 public:
  struct Hit {
    std::string kind, place, secret, form;
    auto operator<=>(const Hit&) const = default;
  };
  struct Looked {
    std::size_t places = 0, bytes = 0, visible = 0;
  };

  // At least 8 bytes. Harmless when repeated.
  void plant(const std::string& name, const std::string& value) {
    if (value.size() < kHead || !values_.insert(value).second) return;
    add(name, "as it is", value);
    // What no encoding of text changes: found inside JSON, URLs, SQL and quotes of quotes.
    if (const std::string core = longest_word(value); core.size() >= 16) add(name, "its letters and digits", core);
    std::string quoted = nlohmann::json(value).dump();
    add(name, "as JSON", quoted.substr(1, quoted.size() - 2));
    add(name, "percent-encoded", percent(value));
    const std::string hex = to_hex(value);
    add(name, "in hex", hex);
    add(name, "in hex", upper(hex));
    for (std::size_t before = 0; before < 3; ++before) {
      const std::string inner = base64_inside(value, before);
      add(name, "in base64", inner);
      std::string url = inner;
      std::replace(url.begin(), url.end(), '+', '-');
      std::replace(url.begin(), url.end(), '/', '_');
      add(name, "in base64url", url);
    }
  }
  // What is meant to be seen in places of this kind; where nothing of it is, the search is blind there.
  void expect_visible(const std::string& kind, const std::string& text) { visible_[kind].push_back(text); }

  void look(const std::string& kind, const std::string& place, std::string_view text) {
    Looked& looked = looked_[kind];
    ++looked.places;
    looked.bytes += text.size();
    for (const std::string& shown : visible_[kind]) looked.visible += text.find(shown) != std::string_view::npos;
    for (std::size_t at = 0; at + kHead <= text.size(); ++at) {
      const auto range = forms_.equal_range(head_of(text.data() + at));
      for (auto form = range.first; form != range.second; ++form)
        if (text.compare(at, form->second.text.size(), form->second.text) == 0)
          hits_.insert({kind, place, form->second.secret, form->second.form});
    }
  }

  std::size_t secrets() const { return values_.size(); }
  std::size_t forms() const { return forms_.size(); }
  const std::set<Hit>& hits() const { return hits_; }
  const std::map<std::string, Looked>& looked() const { return looked_; }
  // Kinds of places in which not even the visible was found.
  std::vector<std::string> blind() const {
    std::vector<std::string> kinds;
    for (const auto& [kind, shown] : visible_) {
      const auto looked = looked_.find(kind);
      if (looked == looked_.end() || looked->second.visible == 0) kinds.push_back(kind);
    }
    return kinds;
  }
  void report(std::ostream& out) const {
    Looked all;
    out << std::left << std::setw(34) << "where" << std::right << std::setw(8) << "places" << std::setw(12) << "bytes"
        << std::setw(10) << "visible" << std::setw(8) << "hits"
        << "\n";
    for (const auto& [kind, looked] : looked_) {
      const auto hits =
          std::count_if(hits_.begin(), hits_.end(), [&kind = kind](const Hit& h) { return h.kind == kind; });
      out << std::left << std::setw(34) << kind << std::right << std::setw(8) << looked.places << std::setw(12)
          << looked.bytes << std::setw(10) << looked.visible << std::setw(8) << hits << "\n";
      all.places += looked.places;
      all.bytes += looked.bytes;
    }
    out << secrets() << " secrets in " << forms() << " forms, " << all.places << " places, " << all.bytes << " bytes, "
        << hits_.size() << " hits\n";
    for (const Hit& hit : hits_)
      out << "  HIT " << hit.secret << " (" << hit.form << ") in " << hit.kind << ": " << hit.place << "\n";
  }

  static std::string base64(std::string_view bytes) {
    static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    std::uint32_t held = 0;
    int bits = 0;
    for (const unsigned char byte : bytes) {
      held = held << 8 | byte;
      for (bits += 8; bits >= 6;) out += kDigits[held >> (bits -= 6) & 63];
    }
    if (bits > 0) out += kDigits[held << (6 - bits) & 63];
    while (out.size() % 4 != 0) out += '=';
    return out;
  }

 private:
  static constexpr std::size_t kHead = 8;
  struct Form {
    std::string text, secret, form;
  };

  static std::uint64_t head_of(const char* bytes) {
    std::uint64_t head = 0;
    std::memcpy(&head, bytes, kHead);
    return head;
  }
  void add(const std::string& name, const char* form, const std::string& text) {
    if (text.size() >= kHead) forms_.emplace(head_of(text.data()), Form{text, name, form});
  }
  static std::string longest_word(const std::string& text) {
    std::string best, word;
    for (const char c : text + " ") {
      if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
        word += c;
        continue;
      }
      if (word.size() > best.size()) best = word;
      word.clear();
    }
    return best;
  }
  static std::string upper(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
    return text;
  }
  static std::string percent(const std::string& text) {
    std::string out;
    for (const char c : text)
      out += std::isalnum(static_cast<unsigned char>(c)) != 0 ? std::string{c} : "%" + upper(to_hex(std::string{c}));
    return out;
  }
  // The digits that say nothing but `value` when `before` bytes stand before it.
  static std::string base64_inside(const std::string& value, std::size_t before) {
    const std::string all = base64(std::string(before, '\0') + value);
    const std::size_t first = (before * 8 + 5) / 6, end = (before + value.size()) * 8 / 6;
    return all.substr(first, end - first);
  }

  std::set<std::string> values_;
  std::unordered_multimap<std::uint64_t, Form> forms_;
  std::map<std::string, std::vector<std::string>> visible_;
  std::map<std::string, Looked> looked_;
  std::set<Hit> hits_;
};

}  // namespace creel::test
