#include "api/openapi.hpp"

#include <gmock/gmock.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "api/routes.hpp"
#include "tests/support/support.hpp"

namespace creel::api {
namespace {

using nlohmann::json;

json document() { return json::parse(openapi_document()); }

// "/api/agents/:id" -> "/api/agents/{id}"
std::string documented_path(std::string pattern) {
  for (std::size_t at = 0; (at = pattern.find("/:", at)) != std::string::npos;) {
    const auto end = std::min(pattern.find('/', at + 1), pattern.size());
    pattern.replace(at, end - at, "/{" + pattern.substr(at + 2, end - at - 2) + "}");
    at = end;
  }
  return pattern;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

void each_ref(const json& value, const std::function<void(const std::string&)>& call) {
  if (value.is_object()) {
    for (const auto& [name, member] : value.items()) {
      if (name == "$ref") call(member.get<std::string>());
      each_ref(member, call);
    }
  } else if (value.is_array()) {
    for (const auto& member : value) each_ref(member, call);
  }
}

// Follows a reference, if it is one.
json resolved(const json& doc, const json& value) {
  if (!value.contains("$ref")) return value;
  return doc.at(json::json_pointer{value["$ref"].get<std::string>().substr(1)});
}

TEST(OpenApi, IsServedAsTheFileStands) {
  std::ifstream file{test::source_dir() + "/api/openapi.yaml"};
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(openapi_document(), text.str());
}

TEST(OpenApi, HoldsExactlyTheRoutesOfTheTable) {
  std::set<std::string> table, documented;
  for (const Route& route : routes()) table.insert(lower(route.method) + " " + documented_path(route.pattern));
  const json doc = document();
  for (const auto& [path, operations] : doc["paths"].items())
    for (const auto& [method, operation] : operations.items()) documented.insert(method + " " + path);
  EXPECT_EQ(documented, table);
}

TEST(OpenApi, DocumentsThePathParametersOfEachRoute) {
  const json doc = document();
  for (const auto& [path, operations] : doc["paths"].items()) {
    for (const auto& [method, operation] : operations.items()) {
      std::set<std::string> named;
      for (const auto& parameter : operation.value("parameters", json::array())) {
        const json found = resolved(doc, parameter);
        if (found["in"] == "path") named.insert("{" + found["name"].get<std::string>() + "}");
      }
      std::set<std::string> in_path;
      for (std::size_t at = 0; (at = path.find('{', at)) != std::string::npos; ++at)
        in_path.insert(path.substr(at, path.find('}', at) - at + 1));
      EXPECT_EQ(named, in_path) << method << " " << path;
    }
  }
}

TEST(OpenApi, SaysWhoMayCallAndWhatRefusesThem) {
  const json doc = document();
  for (const Route& route : routes()) {
    const std::string name = std::string{route.method} + " " + route.pattern;
    const json& operation = doc["paths"][documented_path(route.pattern)][lower(route.method)];
    const bool needs_caller = route.who == Who::user || route.who == Who::admin;
    EXPECT_EQ(needs_caller, !operation.contains("security")) << name;
    const json& responses = operation["responses"];
    EXPECT_TRUE(!needs_caller || responses.contains("401")) << name;
    EXPECT_TRUE(route.rate == RateClass::none || responses.contains("429")) << name;
    EXPECT_TRUE(route.who != Who::admin || responses.contains("403")) << name;
  }
}

TEST(OpenApi, GivesEveryOperationANameOfItsOwn) {
  std::set<std::string> names;
  const json doc = document();
  for (const auto& [path, operations] : doc["paths"].items())
    for (const auto& [method, operation] : operations.items())
      EXPECT_TRUE(names.insert(operation["operationId"].get<std::string>()).second) << method << " " << path;
}

TEST(OpenApi, RefersOnlyToWhatIsThereAndHoldsNothingUnused) {
  const json doc = document();
  std::set<std::string> used;
  each_ref(doc, [&](const std::string& ref) {
    ASSERT_TRUE(ref.starts_with("#/")) << ref;
    EXPECT_TRUE(doc.contains(json::json_pointer{ref.substr(1)})) << ref;
    used.insert(ref);
  });
  for (const char* kind : {"schemas", "responses", "parameters"})
    for (const auto& [name, value] : doc["components"][kind].items())
      EXPECT_TRUE(used.contains("#/components/" + std::string{kind} + "/" + name)) << kind << " " << name;
}

}  // namespace
}  // namespace creel::api
