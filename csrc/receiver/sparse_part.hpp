// S of the state S + Q^H R (docs/math.md): coefficients of the devices that were candidates, module A's prior mean of
// which is not in measurement space.
#pragma once

#include <cstdint>
#include <vector>

#include "core/aligned.hpp"
#include "kernels/table.hpp"

namespace jadce {

class SparsePart {
 public:
  SparsePart(const Shape& shape, index_t limit);

  void clear();
  index_t count() const { return count_; }
  Support view() { return {count_, device_.data(), coefficients_.get()}; }
  float* of_slot(index_t slot) { return coefficients_.get() + slot * size_; }  // [2 P, Mp]
  // A device's coefficients, or null.
  const float* of_device(index_t device) const;

  // The device's slot, a new one with zeros if it had none; -1 if all are taken, which is hopeless overload.
  index_t place(index_t device);
  // Drops the parts with an energy of at most `limit`.
  void prune(float limit);

 private:
  index_t size_, count_ = 0;
  std::vector<std::int32_t> device_, slot_;  // [limit], [K]
  Floats coefficients_;                      // [limit, 2 P, Mp]
};

}  // namespace jadce
