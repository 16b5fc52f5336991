#include "capi/check.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <stdexcept>
#include <vector>

#include "capi/processors.hpp"

namespace jadce {

namespace {

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

}  // namespace

void refuse(const std::string& what) { throw std::invalid_argument(what); }

void need(bool fits, const char* name, const char* expected, double found) {
  if (fits) return;
  char number[32];
  std::snprintf(number, sizeof number, "%.9g", found);
  refuse(std::string(name) + ": expected " + expected + ", found " + number);
}

void need_range(const char* name, index_t value, index_t least, index_t most) {
  if (value < least || value > most)
    refuse(std::string(name) + ": expected " + std::to_string(least) + " to " + std::to_string(most) + ", found " +
           std::to_string(value));
}

void check(const jadce_config& c) {
  need_range("devices", c.devices, 1, 1 << 24);
  need_range("subcarriers", c.subcarriers, 1, 1 << 20);
  need_range("symbols", c.symbols, 1, c.devices);
  need_range("antennas", c.antennas, 1, 4096);
  if (c.prior == nullptr) refuse("prior: expected the name of a file or \"gaussian\", found NULL");
  if ((c.pilot_rows == nullptr) == (c.pilots == nullptr))
    refuse(std::string("pilots: expected pilot_rows or pilots, found ") + (c.pilots ? "both" : "none"));
  need(c.pilot_power >= kLeast && c.pilot_power <= kMost, "pilot_power", "1e-30 to 1e30", c.pilot_power);
  need(c.activity_rate == 0 || (c.activity_rate >= 1e-12 && c.activity_rate <= 1 - 1e-12), "activity_rate",
       "0 or a number between 0 and 1", c.activity_rate);
  need(c.power == 0 || (c.power >= kLeast && c.power <= kMost), "power", "0 or 1e-30 to 1e30", c.power);
  need(c.threshold >= 0 && c.threshold <= 1, "threshold", "0 to 1", c.threshold);
  need_range("max_iterations", c.max_iterations, 0, INT32_MAX);
  need_range("capacity", c.capacity, 0, INT32_MAX);
  need_range("threads", c.threads, 0, kMostThreads);
  need_range("network", c.network, JADCE_NETWORK_AUTO, JADCE_NETWORK_FP32);
  need_range("device", c.device, JADCE_CPU, JADCE_CUDA);
}

void check_rows(const std::int32_t* rows, const Shape& s) {
  std::vector<std::int32_t> column(at(s.symbols));
  for (index_t n = 0; n < s.subcarriers; ++n) {
    for (index_t t = 0; t < s.symbols; ++t) {
      need_range("pilot_rows", rows[t * s.subcarriers + n], 0, s.devices - 1);
      column[at(t)] = rows[t * s.subcarriers + n];
    }
    std::sort(column.begin(), column.end());
    if (std::adjacent_find(column.begin(), column.end()) != column.end())
      refuse("pilot_rows: expected distinct rows on every subcarrier, found one twice on subcarrier " +
             std::to_string(n));
  }
}

}  // namespace jadce
