#include "reconciler/runtime/docker/breaker.hpp"

#include <algorithm>

namespace creel::docker {

Breaker::Verdict Breaker::admit(Time now) {
  if (!open_) return Verdict::go;
  if (probing_ || now < next_probe_) return Verdict::refuse;
  probing_ = true;
  return Verdict::probe;
}

void Breaker::succeeded() {
  // Also the late answer of a call that began before the breaker opened: it proves that the engine is there.
  failures_ = 0;
  open_ = false;
  probing_ = false;
  pause_ = Duration{0};
  reason_.clear();
  subject_.clear();
}

void Breaker::failed(Time now, std::string reason, std::string_view subject) {
  reason_ = std::move(reason);
  if (open_) return;  // calls that began before it opened add nothing
  if (!subject.empty() && subject == subject_) return;
  subject_ = subject;
  if (++failures_ < kThreshold) return;
  open_ = true;
  pause_ = kFirstPause;
  next_probe_ = now + pause_;
}

void Breaker::probe_failed(Time now, std::string reason) {
  probing_ = false;
  if (!open_) return;
  reason_ = std::move(reason);
  pause_ = std::min(pause_ * 2, kLongestPause);
  next_probe_ = now + pause_;
}

}  // namespace creel::docker
