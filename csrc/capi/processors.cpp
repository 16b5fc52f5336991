#include "capi/processors.hpp"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

namespace jadce {

namespace {

// Numbers of a file of the control group, in order; one that is no number, such as "max", ends them.
std::vector<double> group_numbers(const char* name) {
  std::vector<double> numbers;
  std::FILE* const file = std::fopen((std::string("/sys/fs/cgroup/") + name).c_str(), "r");
  for (double x; file != nullptr && std::fscanf(file, "%lf", &x) == 1;) numbers.push_back(x);
  if (file != nullptr) std::fclose(file);
  return numbers;
}

}  // namespace

int processors() {
  int count = 1;
  for (int most = 1024; most <= 1 << 20; most *= 2) {  // the set has to have room for all processors of the machine
    cpu_set_t* const set = CPU_ALLOC(most);
    if (set == nullptr) break;
    const std::size_t size = CPU_ALLOC_SIZE(most);
    const bool fits = sched_getaffinity(0, size, set) == 0;
    if (fits) count = std::clamp(CPU_COUNT_S(size, set), 1, kMostThreads);
    CPU_FREE(set);
    if (fits) break;
  }
  std::vector<double> granted = group_numbers("cpu.max");  // of version 2: time and period
  if (granted.size() != 2) {
    granted = group_numbers("cpu/cpu.cfs_quota_us");
    for (const double period : group_numbers("cpu/cpu.cfs_period_us")) granted.push_back(period);
  }
  const bool limited = granted.size() == 2 && granted[0] > 0 && granted[1] > 0;
  return limited ? static_cast<int>(std::ceil(std::min(static_cast<double>(count), granted[0] / granted[1]))) : count;
}

}  // namespace jadce
