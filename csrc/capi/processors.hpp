#pragma once

namespace jadce {

inline constexpr int kMostThreads = 1024;

// Processors this process may run on, a container's quota included, as default_threads() of transform.py has it.
int processors();

}  // namespace jadce
