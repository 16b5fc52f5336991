// The CUDA kernels as Python functions of addresses and sizes, by name. The Python layer checks what is behind an
// address. Serves two modules: _cuda, and the emulator's _emulated where addresses are the host's.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <type_traits>

namespace jadce::cuda {

template <class T>
using AsAddress = std::conditional_t<std::is_pointer_v<T>, std::uintptr_t, T>;

// `launcher` with integers in place of pointers; zero is null.
template <class... P>
auto by_address(void (*launcher)(P...)) {
  return [launcher](AsAddress<P>... arguments) {
    const auto back = [](auto type, auto value) {
      using T = typename decltype(type)::type;
      if constexpr (std::is_pointer_v<T>) {
        return reinterpret_cast<T>(value);
      } else {
        return value;
      }
    };
    launcher(back(std::common_type<P>{}, arguments)...);
  };
}

// All that follows, devices, graphs and the Control.
void bind_kernels(pybind11::module_& m);

void register_pilot_transform_kernels(pybind11::module_& m);
void register_activity_kernels(pybind11::module_& m);
void register_posterior_kernels(pybind11::module_& m);
void register_beam_network_kernels(pybind11::module_& m);
void register_detection_kernels(pybind11::module_& m);

}  // namespace jadce::cuda
