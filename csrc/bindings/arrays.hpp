// NumPy arrays at the bindings' boundary. They were checked by the Python layer: C-contiguous and of the right dtype,
// or pybind11 refuses them.
#pragma once

#include <pybind11/numpy.h>

#include <cstddef>
#include <vector>

namespace jadce::bindings {

template <class T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

template <class T>
std::vector<T> list(const Array<T>& a) {
  return {a.data(), a.data() + a.size()};
}

// The numbers of an optional array.
template <class T>
std::vector<T> list_or_empty(const pybind11::object& a) {
  return a.is_none() ? std::vector<T>{} : list(a.cast<Array<T>>());
}

}  // namespace jadce::bindings
