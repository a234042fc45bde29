#include "host/program/signals.h"

#include <unistd.h>

#include <csignal>

#include "host/program/error.h"

namespace scalelab::host {

namespace {

volatile std::sig_atomic_t caught_signal = 0;
int signals_held = 0;  // by the main thread alone

extern "C" void on_signal(int number) {
  if (caught_signal != 0) ::_exit(128 + number);
  caught_signal = number;
}

}  // namespace

void catch_signals() {
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

void throw_if_interrupted() {
  if (caught_signal != 0 && signals_held == 0) throw Interrupted(caught_signal);
}

SignalsHeld::SignalsHeld() { ++signals_held; }
SignalsHeld::~SignalsHeld() { --signals_held; }

}  // namespace scalelab::host
