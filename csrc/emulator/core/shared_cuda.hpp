// Takes the place of csrc/core/shared_cuda.hpp: every thread block that runs has memory of its own.
#pragma once

#include "emulator/fibers.hpp"

namespace jadce::cuda {

template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(emulator::shared_memory());
}

}  // namespace jadce::cuda
