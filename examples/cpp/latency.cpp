// How long detections take that are due periodically, as cyclictest asks it of a system: a block arrives every PERIOD
// microseconds, and is missed if its detection ends later than the next one arrives. Blocks that arrive meanwhile are
// dropped. latency CAPTURE.npz PRIOR [PERIOD=714] [BLOCKS=1000] [THREADS=1] [POWER=unknown]
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "capture.hpp"

namespace {

long long now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

void sleep_until(long long due) {
  const timespec t{static_cast<time_t>(due / 1'000'000'000), static_cast<long>(due % 1'000'000'000)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) != 0) {
  }
}

}  // namespace

int main(int count, char** words) {
  if (count < 3) {
    std::fprintf(stderr, "usage: latency CAPTURE.npz PRIOR [PERIOD=714] [BLOCKS=1000] [THREADS=1] [POWER]\n");
    return 2;
  }
  const auto option = [&](int i, double otherwise) { return count > i ? std::atof(words[i]) : otherwise; };
  try {
    const long long period = static_cast<long long>(1e3 * option(3, 714));
    const auto blocks = static_cast<std::size_t>(option(4, 1000));
    if (period <= 0 || blocks == 0) throw std::invalid_argument("expected a positive period and number of blocks");
    Capture capture(words[1]);
    capture.config.prior = words[2];
    capture.config.threads = static_cast<int>(option(5, 1));
    capture.config.power = option(6, 0);
    const bool locked = mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
    const sched_param priority{.sched_priority = 80};
    const bool first = sched_setscheduler(0, SCHED_FIFO, &priority) == 0;  // before the plan: its threads inherit it
    jadce::Receiver receiver(capture.config);
    receiver.detect(capture.y.data(), capture.noise_var);  // touches the memory

    std::vector<double> latency;  // microseconds from arrival to result
    latency.reserve(blocks);
    std::size_t misses = 0, dropped = 0;
    for (long long due = now() + period; latency.size() < blocks; due += period) {
      sleep_until(due);
      receiver.detect(capture.y.data(), capture.noise_var);
      const long long took = now() - due;
      latency.push_back(static_cast<double>(took) / 1e3);
      misses += took > period;
      const long long late = took / period;
      dropped += static_cast<std::size_t>(late);
      due += late * period;
    }

    std::vector<double> sorted = latency;
    std::sort(sorted.begin(), sorted.end());
    const auto quantile = [&](double q) {
      return sorted[static_cast<std::size_t>(q * static_cast<double>(blocks - 1))];
    };
    std::printf("# period %.0f us, %zu blocks, memory %slocked, priority %s, workspace %.1f MB\n",
                static_cast<double>(period) / 1e3, blocks, locked ? "" : "not ", first ? "real-time" : "usual",
                static_cast<double>(receiver.sizes().workspace) / 1e6);
    std::printf("p50 %.0f us, p99 %.0f us, p99.9 %.0f us, most %.0f us, missed %zu, dropped %zu\n", quantile(0.5),
                quantile(0.99), quantile(0.999), sorted.back(), misses, dropped);
    const double width = std::max(1.0, sorted.back() / 20);  // of a bar
    for (std::size_t i = 0, bar = 0; i < sorted.size(); ++bar) {
      const double end = static_cast<double>(bar + 1) * width;
      std::size_t in = 0;
      for (; i < sorted.size() && (sorted[i] <= end || bar == 19); ++i) ++in;
      if (in > 0) std::printf("%8.0f us %8zu\n", end, in);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "latency: %s\n", error.what());
    return 1;
  }
  return 0;
}
