#pragma once

#include <pybind11/pybind11.h>

#include <mutex>

#include "receiver/transform.hpp"

namespace jadce::bindings {

// Without the interpreter's lock, and the plan's only user. The plan's lock is taken second, by threads that hold no
// other: a holder may ask for the interpreter.
class Alone {
 public:
  explicit Alone(Transform& transform) : lock_(transform.mutex()) {}

 private:
  pybind11::gil_scoped_release release_;
  std::lock_guard<ForkMutex> lock_;
};

}  // namespace jadce::bindings
