// NodeScript: a script of tests/chain as a process, asked with one JSON object a line and answering with one. Tests
// only.
//
// The packages it needs are installed on first use (tests/chain/install.sh). It ends when this object does; if the test
// dies, it ends too, because its input does. Errors: a failed test, and an empty object as answer.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

namespace creel::test {

class NodeScript {
 public:
  explicit NodeScript(const std::string& name);  // "chain.js"; waits for its first answer
  ~NodeScript();
  NodeScript(const NodeScript&) = delete;
  NodeScript& operator=(const NodeScript&) = delete;

  const nlohmann::json& ready() const { return ready_; }
  nlohmann::json ask(const std::string& operation, nlohmann::json arguments = nlohmann::json::object());

 private:
  nlohmann::json read_answer();

  pid_t pid_ = 0;
  int in_ = -1;   // of the script
  int out_ = -1;  // of the script
  std::string unread_;
  nlohmann::json ready_;
};

}  // namespace creel::test
