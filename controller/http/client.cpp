#include "controller/http/client.hpp"

#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <unordered_map>
#include <vector>

#include "controller/http/transfer.hpp"

namespace creel::http {

namespace {
// How many idle connections are kept for reuse.
constexpr long kIdleConnections = 64;

void init_libcurl_once() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) spdlog::critical("libcurl cannot be initialised: {}", curl_easy_strerror(code));
}
}  // namespace

std::string Response::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return "";
}

struct Client::Impl {
  // What other threads ask of the client's thread.
  struct Command {
    enum class What { add, cancel, resume } what;
    std::uint64_t id = 0;
    std::shared_ptr<Transfer> transfer;  // for add
  };

  CURLM* multi = nullptr;
  std::mutex mutex;
  std::vector<Command> commands;  // under mutex
  bool closing = false;           // under mutex
  std::atomic<std::uint64_t> next_id{1};
  std::unordered_map<std::uint64_t, std::shared_ptr<Transfer>> active;  // the client's thread only
  std::thread thread;

  Impl() {
    init_libcurl_once();
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, kIdleConnections);
    // The process's signals belong to its io_context; this thread takes none (a broken connection must not raise
    // SIGPIPE).
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread = std::thread{[this] { run(); }};
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  ~Impl() {
    {
      std::lock_guard lock{mutex};
      closing = true;
    }
    curl_multi_wakeup(multi);
    thread.join();
    curl_multi_cleanup(multi);
  }

  void post(Command command) {
    {
      std::lock_guard lock{mutex};
      commands.push_back(std::move(command));
    }
    curl_multi_wakeup(multi);
  }

  std::uint64_t start(std::shared_ptr<Transfer> transfer, std::stop_token stop) {
    const std::uint64_t id = transfer->id = next_id++;
    // Installed before the transfer is handed over, so that its end (on the client's thread) finds it complete. The
    // cancel may then stand before the add in the queue: the flag tells the add. `raw` outlives the callback, which it
    // owns.
    if (stop.stop_possible()) {
      Transfer* raw = transfer.get();
      raw->on_stop = std::make_unique<Transfer::StopCallback>(std::move(stop), [this, raw, id] {
        raw->cancelled = true;
        post({Command::What::cancel, id, nullptr});
      });
    }
    post({Command::What::add, id, std::move(transfer)});
    return id;
  }

  void finish(const std::shared_ptr<Transfer>& transfer, Result<Response> result) {
    // Waits for a stop callback under way on another thread; after this no one else knows the transfer.
    transfer->on_stop.reset();
    active.erase(transfer->id);
    if (transfer->upload) {
      std::lock_guard lock{transfer->upload->mutex};
      transfer->upload->finished = std::move(result);
      transfer->upload->changed.notify_all();
    } else if (transfer->stream) {
      std::lock_guard lock{transfer->stream->mutex};
      transfer->stream->finished = std::move(result);
      transfer->stream->changed.notify_all();
    } else {
      transfer->done(std::move(result));
    }
  }

  void end(const std::shared_ptr<Transfer>& transfer, CURLcode code) {
    if (transfer->easy != nullptr) curl_multi_remove_handle(multi, transfer->easy);
    finish(transfer, transfer->outcome(code));
  }

  void add(const std::shared_ptr<Transfer>& transfer, bool cancelled) {
    if (cancelled) transfer->cancelled = true;
    if (transfer->cancelled) return finish(transfer, transfer->outcome(CURLE_ABORTED_BY_CALLBACK));
    if (auto prepared = transfer->prepare(); !prepared) return finish(transfer, prepared.error());
    transfer->last_byte = SteadyClock::now();
    active.emplace(transfer->id, transfer);
    if (const CURLMcode code = curl_multi_add_handle(multi, transfer->easy); code != CURLM_OK) {
      finish(transfer, Error{ErrorKind::internal, std::string{"libcurl: "} + curl_multi_strerror(code)});
    }
  }

  void cancel(std::uint64_t id) {
    if (const auto found = active.find(id); found != active.end()) {
      const auto transfer = found->second;
      transfer->cancelled = true;
      end(transfer, CURLE_ABORTED_BY_CALLBACK);
    }
  }

  void resume(std::uint64_t id) {
    const auto found = active.find(id);
    if (found == active.end()) return;
    const auto transfer = found->second;  // the unpausing below may hand over a piece at once
    if (transfer->upload) {
      std::lock_guard lock{transfer->upload->mutex};
      transfer->upload->paused = false;
    }
    if (transfer->sending_paused) {
      transfer->sending_paused = false;
      transfer->last_byte = SteadyClock::now();
      curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
    }
    if (!transfer->stream) return;
    bool ended = false;
    {
      std::lock_guard lock{transfer->stream->mutex};
      transfer->stream->paused = false;
      ended = transfer->stream->sink_ended;
    }
    if (ended) return end(transfer, CURLE_OK);
    if (!transfer->receiving_paused) return;
    transfer->receiving_paused = false;
    transfer->last_byte = SteadyClock::now();
    curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
  }

  // Returns true when the client is being destroyed.
  bool take_commands() {
    std::vector<Command> batch;
    bool close = false;
    {
      std::lock_guard lock{mutex};
      batch.swap(commands);
      close = closing;
    }
    for (auto& command : batch) {
      switch (command.what) {
        case Command::What::add:
          add(command.transfer, close);
          break;
        case Command::What::cancel:
          cancel(command.id);
          break;
        case Command::What::resume:
          resume(command.id);
          break;
      }
    }
    return close;
  }

  // Ends what was silent for too long; returns how long the next poll may take.
  std::chrono::milliseconds check_silence() {
    using std::chrono::milliseconds;
    milliseconds wait{60'000};
    const auto now = SteadyClock::now();
    std::vector<std::shared_ptr<Transfer>> quiet;
    for (const auto& [id, transfer] : active) {
      const auto until = transfer->quiet_until();
      if (!until) continue;
      if (*until <= now) {
        quiet.push_back(transfer);
      } else {
        wait = std::min(wait, std::chrono::ceil<milliseconds>(*until - now));
      }
    }
    for (const auto& transfer : quiet) {
      transfer->quiet = true;
      end(transfer, CURLE_OPERATION_TIMEDOUT);
    }
    return wait;
  }

  void run() {
    pthread_setname_np(pthread_self(), "creel-http");
    while (!take_commands()) {
      int running = 0;
      curl_multi_perform(multi, &running);
      int left = 0;
      while (CURLMsg* message = curl_multi_info_read(multi, &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        Transfer* raw = nullptr;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &raw);
        const CURLcode code = message->data.result;  // the message dies with the handle
        if (const auto found = active.find(raw->id); found != active.end()) end(std::shared_ptr{found->second}, code);
      }
      const auto wait = check_silence();
      // Also returns at a timer of libcurl's own (deadlines) and at curl_multi_wakeup.
      curl_multi_poll(multi, nullptr, 0, static_cast<int>(wait.count()), nullptr);
    }
    while (!active.empty()) {
      const auto transfer = active.begin()->second;
      transfer->cancelled = true;
      end(transfer, CURLE_ABORTED_BY_CALLBACK);
    }
    take_commands();  // whatever came in meanwhile is cancelled, too
  }

  bool on_own_thread() const { return std::this_thread::get_id() == thread.get_id(); }
};

Client::Client() : impl_(std::make_unique<Impl>()) {}
Client::~Client() = default;

void Client::send_async(Request request, std::function<void(Result<Response>)> done, std::stop_token stop) {
  impl_->start(std::make_shared<Transfer>(std::move(request), std::move(done), nullptr), std::move(stop));
}

Result<Response> Client::send(Request request, std::stop_token stop) {
  if (impl_->on_own_thread())
    return Error{ErrorKind::internal, "a blocking request was made on the HTTP client's thread"};
  std::promise<Result<Response>> promise;
  auto answer = promise.get_future();
  send_async(
      std::move(request), [&promise](Result<Response> result) { promise.set_value(std::move(result)); },
      std::move(stop));
  return answer.get();
}

Result<Response> Client::stream(Request request, std::function<bool(std::string_view)> sink, std::stop_token stop,
                                std::function<void()> on_open) {
  if (impl_->on_own_thread())
    return Error{ErrorKind::internal, "a blocking request was made on the HTTP client's thread"};
  auto shared = std::make_shared<Stream>();
  auto transfer = std::make_shared<Transfer>(std::move(request), nullptr, shared);
  const std::uint64_t id = impl_->start(std::move(transfer), stop);

  bool announced = false;
  std::unique_lock lock{shared->mutex};
  for (;;) {
    shared->changed.wait(
        lock, [&] { return shared->finished || !shared->pending.empty() || (shared->opened && !announced); });
    if (shared->opened && !announced) {
      announced = true;
      lock.unlock();
      if (on_open) on_open();
      lock.lock();
      continue;
    }
    if (shared->finished && shared->pending.empty()) break;
    if (stop.stop_requested()) {  // ends now, not after all that has come: its cancellation is on the way
      shared->changed.wait(lock, [&] { return shared->finished.has_value(); });
      if (*shared->finished) return Error{ErrorKind::cancelled, "the stream was cancelled"};
      break;
    }
    std::string piece = std::move(shared->pending);
    shared->pending.clear();
    const bool wake = shared->paused;
    lock.unlock();
    if (wake) impl_->post({Impl::Command::What::resume, id, nullptr});
    const bool more = sink(piece);
    lock.lock();
    if (!more) {
      shared->sink_ended = true;
      lock.unlock();
      impl_->post({Impl::Command::What::resume, id, nullptr});
      lock.lock();
      shared->changed.wait(lock, [&] { return shared->finished.has_value(); });
      break;
    }
  }
  return std::move(*shared->finished);
}

Result<Response> Client::upload(Request request, const std::function<Result<void>(const Write&)>& produce,
                                std::stop_token stop) {
  if (impl_->on_own_thread())
    return Error{ErrorKind::internal, "a blocking request was made on the HTTP client's thread"};
  auto shared = std::make_shared<Upload>();
  auto transfer = std::make_shared<Transfer>(std::move(request), nullptr, nullptr);
  transfer->upload = shared;
  const std::uint64_t id = impl_->start(std::move(transfer), std::move(stop));
  // Woken only when it waits: a command for every piece would be one wake-up each.
  const auto wake = [&](std::unique_lock<std::mutex>& lock) {
    const bool waits = std::exchange(shared->paused, false);
    lock.unlock();
    if (waits) impl_->post({Impl::Command::What::resume, id, nullptr});
    lock.lock();
  };
  const Write write = [&](std::string_view piece) {
    std::unique_lock lock{shared->mutex};
    shared->changed.wait(lock, [&] { return shared->finished || shared->pending.size() < Upload::kHigh; });
    if (shared->finished) return false;
    shared->pending.append(piece);
    wake(lock);
    return true;
  };
  const auto produced = produce(write);
  std::unique_lock lock{shared->mutex};
  (produced ? shared->complete : shared->broken) = true;
  wake(lock);
  shared->changed.wait(lock, [&] { return shared->finished.has_value(); });
  if (!produced) return produced.error();
  return std::move(*shared->finished);
}

std::string url_encode(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    if (plain) {
      result += c;
    } else {
      result += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return result;
}

}  // namespace creel::http
