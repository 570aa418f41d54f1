// Scrape: what /metrics said, taken apart. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace creel::test {

struct Scrape {
  struct Sample {
    std::string name;
    std::map<std::string, std::string> labels;
    double value = 0;
  };
  std::map<std::string, std::string> types;  // by family
  std::vector<Sample> samples;

  explicit Scrape(const std::string& text) {
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("# TYPE ")) {
        std::istringstream words{line.substr(7)};
        std::string name;
        words >> name >> types[name];
      } else if (!line.empty() && line[0] != '#') {
        samples.push_back(sample_of(line));
      }
    }
  }

  bool has(const std::string& family) const { return types.contains(family); }
  // The sum of all series of that name that have these labels among theirs; nullopt: there is none.
  std::optional<double> value(const std::string& name, const std::map<std::string, std::string>& labels = {}) const {
    std::optional<double> sum;
    for (const auto& sample : samples) {
      if (sample.name != name) continue;
      bool same = true;
      for (const auto& [key, value] : labels) {
        const auto found = sample.labels.find(key);
        same = same && found != sample.labels.end() && found->second == value;
      }
      if (same) sum = sum.value_or(0) + sample.value;
    }
    return sum;
  }
  // Names of labels that the family's series have; of a histogram without "le".
  std::set<std::string> labels(const std::string& family) const {
    std::set<std::string> names;
    for (const auto& sample : samples) {
      const bool of_it =
          sample.name == family ||
          (types.at(family) == "histogram" &&
           (sample.name == family + "_bucket" || sample.name == family + "_sum" || sample.name == family + "_count"));
      if (!of_it) continue;
      for (const auto& [name, value] : sample.labels)
        if (name != "le") names.insert(name);
    }
    return names;
  }

 private:
  // name{label="value",…} number
  static Sample sample_of(const std::string& line) {
    Sample sample;
    std::size_t at = line.find_first_of("{ ");
    sample.name = line.substr(0, at);
    if (line[at] == '{') {
      for (++at; line[at] != '}'; at += line[at] == ',' ? 1 : 0) {
        const auto equals = line.find('=', at);
        std::string value;
        std::size_t end = equals + 2;
        for (; line[end] != '"'; ++end) {
          if (line[end] == '\\') ++end;
          value += line[end];
        }
        sample.labels[line.substr(at, equals - at)] = value;
        at = end + 1;
      }
      ++at;
    }
    sample.value = std::strtod(line.c_str() + at, nullptr);
    return sample;
  }
};

}  // namespace creel::test
