// ChatQueue: whose turn it is to talk to an agent. In a session one chat at a time, in the order in which the places
// were taken; at an agent a bounded number at once; and the sessions that wait take turns, so that one with a hundred
// messages does not make the others wait for all of them. It sends nothing itself.
//
// A chat takes a place first (refused when too many wait) and begins once it is ready to be sent. Its turn lasts as
// long as anybody holds the Turn it is given: letting go of it lets the next one in, whatever became of the chat.
//
// Errors: limit, code CHAT_QUEUE_FULL. Threads: every method from any thread, none blocks. `call` runs on the thread
// that begins, or on the one that ended the turn before: it must not block. Turns and places may outlive the queue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "controller/core/ids.hpp"
#include "controller/core/result.hpp"

namespace creel::gateway {

class ChatQueue {
  struct Impl;

 public:
  struct Limits {
    std::size_t at_once = 4;           // at one agent
    std::size_t waiting = 100;         // places at one agent, without those whose turn it is
    std::size_t waiting_session = 10;  // of which in one session
  };
  using Turn = std::shared_ptr<void>;

  // A place that was taken. Given up when destroyed before begin().
  class Place {
   public:
    Place(Place&&) noexcept = default;
    Place& operator=(Place&& other) noexcept;
    ~Place();
    // Calls `call` once, as soon as it is its turn; never, when the queue is stopped before.
    void begin(std::function<void(Turn)> call) &&;

   private:
    friend class ChatQueue;
    Place(std::shared_ptr<Impl> queue, AgentId agent, std::string session, std::uint64_t number);
    std::shared_ptr<Impl> queue_;
    AgentId agent_;
    std::string session_;
    std::uint64_t number_;
  };

  struct Load {
    std::size_t talking = 0;  // chats whose turn it is, at all agents
    std::size_t waiting = 0;
  };

  ChatQueue() : ChatQueue(Limits{}) {}
  explicit ChatQueue(Limits limits);
  ~ChatQueue();  // stop()
  ChatQueue(const ChatQueue&) = delete;
  ChatQueue& operator=(const ChatQueue&) = delete;

  // `session`: the conversation, as in ChatRequest::session_key.
  Result<Place> take_place(const AgentId& agent, const std::string& session);
  Load load() const;
  // Forgets whoever waits and lets nobody in any more: what calls would use is about to go.
  void stop();

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace creel::gateway
