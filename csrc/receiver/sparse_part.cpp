#include "receiver/sparse_part.hpp"

#include <algorithm>

namespace jadce {

namespace {

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

}  // namespace

SparsePart::SparsePart(const Shape& shape, index_t limit)
    : size_(shape.channel()),
      device_(at(limit)),
      slot_(at(shape.devices), -1),
      coefficients_(floats(limit * shape.channel())) {}

void SparsePart::clear() {
  count_ = 0;
  std::fill(slot_.begin(), slot_.end(), -1);
}

const float* SparsePart::of_device(index_t device) const {
  const std::int32_t slot = slot_[at(device)];
  return slot < 0 ? nullptr : coefficients_.get() + slot * size_;
}

index_t SparsePart::place(index_t device) {
  std::int32_t& slot = slot_[at(device)];
  if (slot >= 0) return slot;
  if (count_ == static_cast<index_t>(device_.size())) return -1;
  slot = static_cast<std::int32_t>(count_++);
  device_[at(slot)] = static_cast<std::int32_t>(device);
  std::fill_n(of_slot(slot), size_, 0.0f);
  return slot;
}

void SparsePart::prune(float limit) {
  for (index_t slot = count_ - 1; slot >= 0; --slot) {
    const float* s = of_slot(slot);
    float energy = 0;
    for (index_t i = 0; i < size_ && energy <= limit; ++i) energy += s[i] * s[i];
    if (energy > limit) continue;
    slot_[at(device_[at(slot)])] = -1;
    const index_t last = --count_;
    if (last == slot) continue;
    std::copy_n(of_slot(last), size_, of_slot(slot));
    device_[at(slot)] = device_[at(last)];
    slot_[at(device_[at(slot)])] = static_cast<std::int32_t>(slot);
  }
}

}  // namespace jadce
