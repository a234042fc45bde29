// signals: a signal is remembered, and heard where nothing is half done.
#pragma once

namespace scalelab::host {

// The first SIGINT, SIGTERM or SIGUSR1 is remembered, and Progress::update or throw_if_interrupted (error.h) throws it
// as Interrupted; the second ends the program at once. SIGPIPE is ignored: writing to a closed pipe is an error like
// any other.
void catch_signals();

// While one lives, a signal is remembered and nothing more: what must be finished goes inside.
class SignalsHeld {
 public:
  SignalsHeld();
  ~SignalsHeld();
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;
};

}  // namespace scalelab::host
