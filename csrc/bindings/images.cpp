// Python's view of the search for images that a radio makes of devices.
#include "receiver/images.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/register.hpp"

namespace py = pybind11;

namespace jadce::bindings {

namespace {

using Channels = py::array_t<cfloat, py::array::c_style | py::array::forcecast>;  // [rows, N, M]

Channels rows(const py::function& channels, const std::vector<index_t>& which) {
  return channels(Array<std::int64_t>(static_cast<py::ssize_t>(which.size()), which.data())).cast<Channels>();
}

}  // namespace

void register_images(py::module_& m) {
  py::class_<Images>(m, "Images")
      .def(py::init([](const Array<std::int32_t>& rows, index_t count, index_t antennas) {
             return std::make_unique<Images>(rows.data(), Shape{count, rows.shape(1), rows.shape(0), antennas, 0, 0});
           }),
           py::kw_only(), py::arg("rows").noconvert(), py::arg("devices"), py::arg("antennas"))
      .def(py::init([](const Array<cfloat>& pilots, index_t antennas) {
             const py::gil_scoped_release release;
             return std::make_unique<Images>(pilots.data(),
                                             Shape{pilots.shape(2), pilots.shape(1), pilots.shape(0), antennas, 0, 0});
           }),
           py::kw_only(), py::arg("pilots").noconvert(), py::arg("antennas"))
      .def(
          "find",
          [](const Images& images, const Array<std::int64_t>& active, const py::function& channels) {
            const std::vector<std::int32_t> given(active.data(), active.data() + active.size());
            const index_t count = static_cast<index_t>(given.size());
            ImageSearch search(images, count);  // of this call alone: Python may run in its middle
            const std::vector<index_t> suspects = search.suspects(given.data(), count);
            if (suspects.empty()) return std::pair(search.mirrored(), search.constant());
            const Channels some = rows(channels, suspects);
            Channels all;  // asked for when others are
            search.find(given.data(), count, [&](index_t row, int) {
              const auto found = std::lower_bound(suspects.begin(), suspects.end(), row);
              if (found != suspects.end() && *found == row) return some.data(found - suspects.begin());
              if (all.size() == 0) {
                std::vector<index_t> every(given.size());
                std::iota(every.begin(), every.end(), 0);
                all = rows(channels, every);
              }
              return all.data(row);
            });
            return std::pair(search.mirrored(), search.constant());
          },
          py::arg("active").noconvert(), py::arg("channels"));
}

}  // namespace jadce::bindings
