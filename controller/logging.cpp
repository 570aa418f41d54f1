#include "controller/logging.hpp"

#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "controller/core/clock.hpp"
#include "controller/core/log_context.hpp"

namespace creel {
namespace {

TimePoint time_of(const spdlog::details::log_msg& message) {
  return std::chrono::time_point_cast<milliseconds>(message.time);
}

std::string level_of(const spdlog::details::log_msg& message) {
  const auto name = spdlog::level::to_string_view(message.level);
  return {name.data(), name.size()};
}

// Patterns cannot escape, and a quote in a message must not end the JSON string.
class JsonFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& into) override {
    nlohmann::json line{{"time", to_rfc3339(time_of(message))},
                        {"level", level_of(message)},
                        {"message", std::string{message.payload.data(), message.payload.size()}}};
    for (const auto& [name, value] : LogContext::current()) line[name] = value;
    const std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    into.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

// Control characters in a message must not forge further lines.
class TextFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& into) override {
    std::string text = to_rfc3339(time_of(message)) + " " + level_of(message) + " ";
    for (const char c : message.payload) text += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    for (const auto& [name, value] : LogContext::current()) text += std::string{" "} + name + "=" + value;
    text += '\n';
    into.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<TextFormatter>(); }
};

}  // namespace

void set_up_logging(LogFormat format, LogLevel level) {
  auto logger = std::make_shared<spdlog::logger>("creel", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  const bool for_people = format == LogFormat::text || (format == LogFormat::automatic && isatty(STDERR_FILENO) == 1);
  if (!for_people)
    logger->set_formatter(std::make_unique<JsonFormatter>());
  else
    logger->set_formatter(std::make_unique<TextFormatter>());
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                                                   spdlog::level::err};
  logger->set_level(kLevels[static_cast<int>(level)]);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace creel
