/* libjadce: joint activity detection and channel estimation for massive random access, from C.
 *
 * One received block of pilots in, every device's probability of being active and the active devices' channels out, as
 * jadce_fast.Receiver of the Python package does it, to the bit. docs/embedding.md has examples.
 *
 *   jadce_config config;
 *   jadce_config_init(&config);
 *   config.devices = 800; ... config.prior = "cdl.safetensors";
 *   jadce_plan *plan;
 *   if (jadce_create(&config, &plan)) puts(jadce_last_error());
 *   jadce_sizes sizes;
 *   jadce_query(plan, &sizes);                       // how much memory the caller needs for results
 *   jadce_detect(plan, &block, noise_var, &result);  // as often as blocks arrive
 *   jadce_destroy(plan);
 *
 * Errors. Functions return JADCE_OK or another jadce_status; jadce_last_error() of the same thread has the details:
 * which argument, what was expected, what was found. No exception leaves the library. A failed call changes nothing.
 *
 * Threads. Calls on different plans do not concern each other. jadce_detect on one plan may be called from several
 * threads and takes turns. jadce_destroy needs that no other call on the plan is under way. A plan's own threads (it
 * has `threads` minus one) sleep a tenth of a millisecond after a detection.
 *
 * GPU. A plan with device = JADCE_CUDA detects there: jadce_detect copies, waits and copies back, jadce_enqueue does
 * none of it. Constants on a subcarrier are not looked for there. Programs without a GPU load the library all the same.
 *
 * Memory. jadce_create takes all of it; jadce_detect allocates nothing, and locks nothing but the plan. Pages are
 * touched when they are first used: lock them (mlockall), or detect in a block of zeros, before time matters.
 *
 * Arrays are C-contiguous with the shapes beside them: K devices, N subcarriers, T symbols, M antennas. Complex numbers
 * are pairs (real, imaginary). The library keeps no pointer of the caller's between calls.
 */
#ifndef JADCE_JADCE_H
#define JADCE_JADCE_H

#include <stddef.h>
#include <stdint.h>

#define JADCE_VERSION_MAJOR 0
#define JADCE_VERSION_MINOR 1

#if defined(JADCE_BUILDS)
#define JADCE_API __attribute__((visibility("default")))
#else
#define JADCE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum jadce_status {
  JADCE_OK = 0,
  JADCE_ERROR_ARGUMENT = 1,    /* an argument is out of range or does not fit another */
  JADCE_ERROR_FILE = 2,        /* a prior's file is missing, damaged, or none */
  JADCE_ERROR_UNSUPPORTED = 3, /* the Python package does it, this library does not */
  JADCE_ERROR_MEMORY = 4,      /* there is not enough memory, or no thread to be had */
  JADCE_ERROR_INTERNAL = 5,    /* a fault of the library */
  JADCE_ERROR_GPU = 6          /* the GPU or its driver refused; the details are its own */
} jadce_status;

/* The form of received samples: pairs of floats, of 16-bit integers, or of bfloat16. */
typedef enum jadce_format { JADCE_COMPLEX64 = 0, JADCE_INT16 = 1, JADCE_BFLOAT16 = 2 } jadce_format;

/* How the networks of a prior run: AUTO is BF16 where that is faster (AMX, AVX512-BF16 of AMD), else FP32. */
typedef enum jadce_network { JADCE_NETWORK_AUTO = 0, JADCE_NETWORK_BF16 = 1, JADCE_NETWORK_FP32 = 2 } jadce_network;

/* Where a plan detects: on processors, or on the CUDA device that is the calling thread's current one. */
typedef enum jadce_device { JADCE_CPU = 0, JADCE_CUDA = 1 } jadce_device;

/* Why a detection ended. */
typedef enum jadce_stopped {
  JADCE_STOPPED_ITERATIONS = 0,  /* all iterations that were planned are done */
  JADCE_STOPPED_FIXED_POINT = 1, /* nothing improved any more */
  JADCE_STOPPED_DIVERGED = 2,    /* errors grew, or are not finite */
  JADCE_STOPPED_SILENCE = 3      /* what was found explains the block worse than that nobody is active */
} jadce_stopped;

typedef struct jadce_plan jadce_plan;

/* What is known before blocks arrive. jadce_config_init sets every member to its default, which is zero unless another
 * is named. */
typedef struct jadce_config {
  int32_t devices, subcarriers, symbols, antennas; /* K, N, T <= K, M: to be set */
  const int32_t* pilot_rows; /* [T, N] of the K-point DFT: device k sends sqrt(pilot_power) exp(-2 pi i row k / K), */
  double pilot_power;        /* 1 by default; */
  const float* pilots;       /* [T, N, K, 2] any other pilots. One of the two is to be set. */
  const char* prior;         /* a prior's .safetensors file, several joined by '+', which take turns, or "gaussian" */
  double activity_rate;      /* probability that a device is active, in (0, 1), 0.05 by default; 0: learned */
  double power;              /* mean received power of an active device for unit pilots; 0: not known */
  double threshold;          /* probability from which a device is declared active, 0.5 by default */
  int32_t max_iterations;    /* 0: the library's, 24 */
  int32_t capacity;          /* most devices through the denoiser in one iteration; 0: 256 or 4 K activity_rate */
  int32_t threads;           /* 0: the processors of this process, or as many as a container's quota grants */
  int32_t network;           /* a jadce_network; AUTO is BF16 on a GPU where it fits */
  int32_t device;            /* a jadce_device */
} jadce_config;

typedef struct jadce_sizes {
  int32_t devices, subcarriers, symbols, antennas; /* K, N, T, M */
  int32_t most_active;                             /* of a result: channels are [most_active, N, M, 2] */
  int32_t threads;
  int64_t workspace; /* bytes of the plan's arrays; pages that are never used take no memory */
  int64_t on_device; /* bytes of a GPU's memory */
} jadce_sizes;

/* A received block. Entry (t, n, m) is the complex number at data + t * strides[0] + n * strides[1] + m * strides[2],
 * counted in complex numbers; all strides zero: [T, N, M]. Subcarrier-major [N, T, M] is {M, T M, 1}, antenna-major
 * [M, T, N] is {N, 1, T N}. */
typedef struct jadce_block {
  const void* data;
  int32_t format; /* a jadce_format */
  float scale;    /* factor of every number, 1 if it is 0 */
  int64_t strides[3];
} jadce_block;

/* Memory of the caller's for arrays, any of which may be null, and the numbers of a result. */
typedef struct jadce_result {
  float* activity;    /* [K] probability that each device is active */
  int32_t* active;    /* [most_active] devices declared active, ascending */
  float* channels;    /* [most_active, N, M, 2] their channels, posterior means */
  float* channel_var; /* [most_active] variance of an entry of each, only with `channels` */

  int32_t found;         /* active devices: valid leading entries of the three arrays above */
  int32_t trusted;       /* nothing speaks against the result */
  int32_t converged;     /* the loop reached a fixed point that explains the block */
  int32_t iterations;    /* turbo iterations */
  int32_t stopped;       /* a jadce_stopped */
  int32_t overflow;      /* plausible devices for which there was no place */
  double noise_var;      /* variance per entry that remains when the active devices are subtracted */
  double residual_ratio; /* the same over the given noise variance, */
  float least, most;     /* and its range where the model holds */
} jadce_result;

/* Where a plan for CUDA has its results, in device memory, the same at every detection; overwritten by the next one. */
typedef struct jadce_device_result {
  const float* activity;    /* [K] */
  const int64_t* active;    /* [most_active], ascending, and -1 beyond the last */
  const float* channels;    /* [most_active, N, M, 2], zero beyond */
  const float* channel_var; /* [most_active], zero beyond */
  const int32_t* found;     /* [1] active devices */
  const int32_t* trusted;   /* [1] as in jadce_result, but images of a radio are not looked for */
} jadce_device_result;

JADCE_API const char* jadce_version(void);
JADCE_API const char* jadce_error_string(int status);
/* Details of this thread's last error; empty before the first. Valid until the thread's next call. */
JADCE_API const char* jadce_last_error(void);

JADCE_API void jadce_config_init(jadce_config* config);
/* Plans a receiver. Pilots of devices without a pilot or with another one's, of devices that leave subcarriers out, and
 * sequences that repeat over subcarriers are refused (JADCE_ERROR_UNSUPPORTED). */
JADCE_API int jadce_create(const jadce_config* config, jadce_plan** plan);
JADCE_API int jadce_query(const jadce_plan* plan, jadce_sizes* sizes);
/* Detects in one block with complex noise of variance noise_var per (scaled) entry, and returns when it is done. */
JADCE_API int jadce_detect(jadce_plan* plan, const jadce_block* block, double noise_var, jadce_result* result);

/* Enqueues a detection on `stream`, a cudaStream_t of the plan's device, and returns; for plans with JADCE_CUDA. The
 * block is in device memory, complex64 [T, N, M], unscaled; it must not change before the detection has ended. If the
 * stream captures, the kernels become part of the caller's graph, with a loop (a conditional node: CUDA 12.4), which
 * may be launched as often as wanted while the plan lives: the caller then sees to it that no two detections of the
 * plan run at once. Another layout or format is refused. */
JADCE_API int jadce_enqueue(jadce_plan* plan, const jadce_block* block, double noise_var, void* stream);
/* Waits for the last jadce_enqueue, and copies its result to memory of the host's. Of a graph of the caller's it does
 * not know: wait for that first. Numbers of the block that are not finite are found here (JADCE_ERROR_ARGUMENT). */
JADCE_API int jadce_wait(jadce_plan* plan, jadce_result* result);
JADCE_API int jadce_on_device(const jadce_plan* plan, jadce_device_result* result);
/* Nothing if `plan` is null. */
JADCE_API void jadce_destroy(jadce_plan* plan);

#ifdef __cplusplus
}
#endif

#endif
