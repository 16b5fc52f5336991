// What is constant over symbols on one subcarrier beside all devices: a DC offset on that of DC.
#pragma once

#include <vector>

#include "core/shapes.hpp"

namespace jadce {

class Tone {
 public:
  // Rotation [N, T, T] of measurements over symbols, or empty.
  Tone(const Shape& shape, const std::vector<cfloat>& rotation);

  // The subcarrier of a constant in what remains of a block in white noise [N, T, 2, Mp], -1 if there is none. Cubic
  // roots of the energies of means over symbols are about normal; errors of channels are smooth over subcarriers, and
  // largest at both ends, where nothing is looked for.
  index_t find(const float* r);

 private:
  const Shape shape_;
  std::vector<cfloat> weight_;                // [N, T] of the mean over symbols
  std::vector<double> energy_, root_, some_;  // [N]
};

}  // namespace jadce
