// The C API, include/jadce/jadce.h: statuses and messages of what plans do.
#include <jadce/jadce.h>

#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include "capi/check.hpp"
#include "capi/plan.hpp"

namespace {

using jadce::refuse;

thread_local std::string last_error;  // NOLINT: empty at first, which takes no memory

// Runs f, and makes a status and a message of what it throws.
template <class F>
int guarded(F f) noexcept {
  const auto fail = [](int status, const char* what) {
    try {
      last_error = what;
    } catch (...) {
      last_error.clear();
    }
    return status;
  };
  try {
    f();
    return JADCE_OK;
  } catch (const std::invalid_argument& error) {
    return fail(JADCE_ERROR_ARGUMENT, error.what());
  } catch (const jadce::FileError& error) {
    return fail(JADCE_ERROR_FILE, error.what());
  } catch (const jadce::Unsupported& error) {
    return fail(JADCE_ERROR_UNSUPPORTED, error.what());
  } catch (const jadce::GpuError& error) {
    return fail(JADCE_ERROR_GPU, error.what());
  } catch (const std::bad_alloc&) {
    return fail(JADCE_ERROR_MEMORY, "memory: there is not enough for this plan");
  } catch (const std::length_error&) {
    return fail(JADCE_ERROR_MEMORY, "memory: there is not enough for this plan");
  } catch (const std::runtime_error& error) {  // of the pool of threads
    return fail(JADCE_ERROR_MEMORY, error.what());
  } catch (const std::exception& error) {
    return fail(JADCE_ERROR_INTERNAL, error.what());
  } catch (...) {
    return fail(JADCE_ERROR_INTERNAL, "an exception of unknown type");
  }
}

}  // namespace

extern "C" {

const char* jadce_version(void) { return JADCE_VERSION; }

const char* jadce_error_string(int status) {
  switch (status) {
    case JADCE_OK:
      return "no error";
    case JADCE_ERROR_ARGUMENT:
      return "an argument is out of range or does not fit another";
    case JADCE_ERROR_FILE:
      return "a prior's file is missing, damaged, or none";
    case JADCE_ERROR_UNSUPPORTED:
      return "the Python package does it, this library does not";
    case JADCE_ERROR_MEMORY:
      return "there is not enough memory, or no thread to be had";
    case JADCE_ERROR_INTERNAL:
      return "a fault of the library";
    case JADCE_ERROR_GPU:
      return "the GPU or its driver refused";
    default:
      return "no status of this library";
  }
}

const char* jadce_last_error(void) { return last_error.c_str(); }

void jadce_config_init(jadce_config* config) {
  if (config == nullptr) return;
  *config = jadce_config{};
  config->pilot_power = 1;
  config->activity_rate = jadce::kFirstRate;
  config->threshold = 0.5;
}

int jadce_create(const jadce_config* config, jadce_plan** plan) {
  return guarded([&] {
    if (config == nullptr || plan == nullptr)
      refuse("jadce_create: expected a config and a place for a plan, found NULL");
    jadce::check(*config);
    *plan = std::make_unique<jadce_plan>(*config).release();
  });
}

int jadce_query(const jadce_plan* plan, jadce_sizes* sizes) {
  return guarded([&] {
    if (plan == nullptr || sizes == nullptr) refuse("jadce_query: expected a plan and sizes, found NULL");
    plan->query(*sizes);
  });
}

int jadce_detect(jadce_plan* plan, const jadce_block* block, double noise_var, jadce_result* result) {
  return guarded([&] {
    if (plan == nullptr || block == nullptr || result == nullptr)
      refuse("jadce_detect: expected a plan, a block and a result, found NULL");
    plan->detect(*block, noise_var, *result);
  });
}

int jadce_enqueue(jadce_plan* plan, const jadce_block* block, double noise_var, void* stream) {
  return guarded([&] {
    if (plan == nullptr || block == nullptr) refuse("jadce_enqueue: expected a plan and a block, found NULL");
    plan->enqueue(*block, noise_var, stream);
  });
}

int jadce_wait(jadce_plan* plan, jadce_result* result) {
  return guarded([&] {
    if (plan == nullptr || result == nullptr) refuse("jadce_wait: expected a plan and a result, found NULL");
    plan->wait(*result);
  });
}

int jadce_on_device(const jadce_plan* plan, jadce_device_result* result) {
  return guarded([&] {
    if (plan == nullptr || result == nullptr) refuse("jadce_on_device: expected a plan and a result, found NULL");
    plan->on_device(*result);
  });
}

void jadce_destroy(jadce_plan* plan) { delete plan; }

}  // extern "C"
