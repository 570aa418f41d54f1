// Bridge: carries what people write on WhatsApp to their agent, and the agent's replies back. OpenClaw does not speak
// the Cloud API; to the agent it is a conversation at its gateway, one session "whatsapp:<number>" for each person.
//
//   webhook (api/handlers/whatsapp.cpp) → whatsapp_inbox → the agent's gateway → whatsapp_outbox → WhatsApp
//
// Each arrow is recorded in PostgreSQL before and after, so that nothing is lost whoever dies in between. For each
// number one message at a time is with the agent, and one part of a reply with WhatsApp, in the order they came. A
// message waits for as long as its agent is stopped or not ready.
//
// What can happen twice, and why:
//   - The agent is asked twice, when its reply was lost: the controller died, or lost the lease, while the agent was at
//     work. The one who claimed the message last may store a reply, so the person gets one answer.
//   - A part is sent twice, when WhatsApp took it, its answer was lost, and no delivery status named the part within
//     `grace`: the Cloud API cannot be asked what it has. Sent twice rather than lost.
// What is given up, with its reason kept and an event for the owner: a part that WhatsApp refuses for good; a message
// that the agent failed at `most_attempts` times, or that could not be brought to it or back for `longest_away`.
//
// Threads: pass() on one thread at a time (a Job, on the leader only); it blocks on PostgreSQL alone. lead() and
// close() from any thread. Replies arrive on other threads, are kept in memory, and are recorded by the next pass.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "controller/channels/whatsapp.hpp"
#include "controller/core/result.hpp"
#include "controller/core/template.hpp"
#include "controller/gateway/chat_queue.hpp"
#include "controller/gateway/gateway.hpp"
#include "controller/secrets/sealer.hpp"
#include "controller/store/agents.hpp"
#include "controller/store/pg.hpp"
#include "controller/store/whatsapp.hpp"

namespace creel::channels {

struct BridgeOptions {
  std::string controller_id = "creel";
  std::chrono::milliseconds first_retry{2'000};  // then twice as long each time, less up to a half by chance
  std::chrono::milliseconds longest_retry{300'000};
  std::chrono::milliseconds not_ready_retry{2'000};  // how often an agent that is not ready is looked at
  std::chrono::milliseconds grace{15'000};
  std::chrono::milliseconds chat_deadline{300'000};
  int most_attempts = 8;
  int most_timeouts = 2;                // the agent has the message: each further try makes it work once more
  std::chrono::hours longest_away{24};  // then WhatsApp takes no reply any more
  std::chrono::hours kept{14 * 24};     // what is done; longer than WhatsApp repeats a message
  std::size_t at_once = 32;             // messages with agents, and parts with WhatsApp
};

struct BridgeCounters {
  std::atomic<std::uint64_t> received{0};  // messages taken for the first time
  std::atomic<std::uint64_t> answered{0};
  std::atomic<std::uint64_t> sent{0};    // parts
  std::atomic<std::uint64_t> failed{0};  // messages and parts that were given up
  std::atomic<std::int64_t> waiting{0};  // in both boxes, as the last pass saw it
};

class Bridge {
 public:
  // Sends a message to an agent's gateway; as gateway::Gateways::chat_async.
  using Chat = std::function<void(const std::string& kind, gateway::ChatRequest request,
                                  std::function<void(Result<gateway::ChatReply>)> done)>;
  struct Parts {
    store::Database& database;
    const secrets::Sealer& sealer;
    const TemplateSet& templates;
    gateway::ChatQueue& queue;
    Chat chat;
    Whatsapp whatsapp;
  };
  // What `parts` refers to must outlive this object. `wake` asks for a pass soon, from any thread.
  Bridge(Parts parts, BridgeOptions options, std::function<void()> wake);
  ~Bridge();  // close()

  // The lease was taken (say so before the first pass): what another controller had under way is this one's to finish.
  void lead() { reclaim_ = true; }
  void pass(std::stop_token stop);
  // `wake` is not called any more. What is under way is found again by the next controller.
  void close();
  const BridgeCounters& counters() const { return counters_; }

 private:
  struct Outcome {
    store::WhatsappBox box;
    store::WhatsappItem item;
    Result<std::string> text;  // the reply, or the name that WhatsApp gave
    TimePoint at;
  };
  // Where outcomes go, also when they come after this object is gone.
  struct Mailbox {
    std::mutex mutex;
    std::vector<Outcome> outcomes;
    std::function<void()> wake;
  };

  Result<void> record_all();
  Result<void> record(const Outcome& outcome);
  Result<void> record_reply(store::Tx& tx, const Outcome& outcome);
  Result<void> record_failure(store::Tx& tx, const Outcome& outcome);
  Result<void> start(store::WhatsappBox box);
  Result<void> tell_agent(store::WhatsappItem item);
  Result<void> send_part(store::WhatsappItem item);
  Result<void> put_back(store::WhatsappBox box, const store::WhatsappItem& item, const std::string& why,
                        std::chrono::milliseconds in);
  Result<void> tidy();
  std::function<void(Result<std::string>)> deliver_to_mailbox(store::WhatsappBox box, const store::WhatsappItem& item);
  std::chrono::milliseconds backoff(int attempts);
  std::set<std::int64_t>& under_way(store::WhatsappBox box) {
    return under_way_[box == store::WhatsappBox::in ? 0 : 1];
  }

  const Parts parts_;
  const BridgeOptions options_;
  BridgeCounters counters_;
  std::atomic<bool> reclaim_{false};
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  std::set<std::int64_t> under_way_[2];  // ids of ours, inbox and outbox
  std::vector<Outcome> unrecorded_;      // taken from the mailbox
  std::chrono::steady_clock::time_point tidied_{};
  std::mt19937 chance_{std::random_device{}()};
};

}  // namespace creel::channels
