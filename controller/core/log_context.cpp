#include "controller/core/log_context.hpp"

namespace creel {
namespace {

LogContext::Fields& fields() {
  thread_local LogContext::Fields of_thread;
  return of_thread;
}

}  // namespace

LogContext::LogContext(const char* name, std::string value) : given_(!value.empty()) {
  if (given_) fields().emplace_back(name, std::move(value));
}

LogContext::~LogContext() {
  if (given_) fields().pop_back();
}

const LogContext::Fields& LogContext::current() { return fields(); }

}  // namespace creel
