#pragma once

#include <pybind11/numpy.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"

namespace jadce::bindings {

// Memory of arrays that nobody holds any more, for the next ones: pages that are fresh from the system cost more than
// what is written to them. Used with the interpreter's lock.
class Recycled {
 public:
  template <class T>
  Array<T> take(std::vector<pybind11::ssize_t> shape) {
    std::size_t bytes = sizeof(T);
    for (const pybind11::ssize_t n : shape) bytes *= static_cast<std::size_t>(n);
    auto lease = std::make_unique<Lease>(home_, find(bytes));
    auto* const data = reinterpret_cast<T*>(lease->block.data.get());
    const pybind11::capsule owner(lease.get(), [](void* held) { give_back(static_cast<Lease*>(held)); });
    lease.release();  // NOLINT: the capsule has it
    return Array<T>(std::move(shape), data, owner);
  }

 private:
  static constexpr std::size_t kKept = 2;  // blocks: one may still be held when the next result is made

  struct Block {
    std::unique_ptr<std::byte[]> data;
    std::size_t bytes;
  };
  using Blocks = std::vector<Block>;
  struct Lease {
    std::shared_ptr<Blocks> home;
    Block block;
  };

  Block find(std::size_t bytes) {
    const auto found = std::find_if(home_->begin(), home_->end(), [&](const Block& b) { return b.bytes >= bytes; });
    if (found == home_->end()) {
      const std::size_t some = bytes + bytes / 4;  // the next result may be larger
      return {std::make_unique_for_overwrite<std::byte[]>(some), some};
    }
    Block block = std::move(*found);
    home_->erase(found);
    return block;
  }

  static void give_back(Lease* held) {
    const std::unique_ptr<Lease> lease(held);
    Blocks& home = *lease->home;
    home.push_back(std::move(lease->block));
    if (home.size() <= kKept) return;
    home.erase(std::min_element(home.begin(), home.end(), [](auto& a, auto& b) { return a.bytes < b.bytes; }));
  }

  std::shared_ptr<Blocks> home_ = std::make_shared<Blocks>();
};

}  // namespace jadce::bindings
