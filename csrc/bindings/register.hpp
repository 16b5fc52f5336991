// Functions by which each file of bindings adds its part to the module.
#pragma once

#include <pybind11/pybind11.h>

namespace jadce::bindings {

// The constants of the loop with the library's defaults, as jadce_fast.Rules reads them and kernels take them.
void register_rules(pybind11::module_& m);
// Transforms, their operations, and the likelihood ratio of activity.
void register_operations(pybind11::module_& m);
void register_plan(pybind11::module_& m);
void register_images(pybind11::module_& m);
void register_receiver(pybind11::module_& m);
void register_repeated(pybind11::module_& m);
void register_langevin(pybind11::module_& m);

}  // namespace jadce::bindings
