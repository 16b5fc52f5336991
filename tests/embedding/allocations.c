/* Counts the allocations of jadce_detect: the program's malloc and its kin take the place of the C library's, also for
 * operator new in the shared library. allocations PRIOR; prints the counts of planning and of detections, and the
 * status of planning where threads of a pool find no memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "jadce/jadce.h"

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

static long calls;
static int scarce;               /* whether a pool's threads get small pieces of memory only */
static _Thread_local int caller; /* whether this thread is none of them */

static int refused(size_t size) { return __atomic_load_n(&scarce, __ATOMIC_RELAXED) && !caller && size > 4096; }

static void* counted(void* p) {
  __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
  return p;
}

void* malloc(size_t size) { return refused(size) ? NULL : counted(__libc_malloc(size)); }
void* calloc(size_t count, size_t size) { return counted(__libc_calloc(count, size)); }
void* realloc(void* p, size_t size) { return counted(__libc_realloc(p, size)); }
void* memalign(size_t alignment, size_t size) { return counted(__libc_memalign(alignment, size)); }
void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void** p, size_t alignment, size_t size) {
  *p = memalign(alignment, size);
  return *p == NULL ? ENOMEM : 0;
}

enum { K = 127, N = 48, T = 10, M = 4 };
static float y[T * N * M][2], pilots[T * N * K][2], channels[K * N * M][2], activity[K], var[K];
static int32_t rows[T * N], active[K];

static double unit(void) { return 2.0 * rand() / RAND_MAX - 1; }

static void receive(int count, int16_t first) {
  for (int i = 0; i < T * N; ++i)
    for (int m = 0; m < M; ++m)
      for (int part = 0; part < 2; ++part) y[i * M + m][part] = (float)(0.1 * unit());
  for (int a = 0; a < count; ++a) {
    const int k = (first + 17 * a) % K;
    for (int m = 0; m < M; ++m) {
      const float re = (float)unit(), im = (float)unit();
      for (int i = 0; i < T * N; ++i) {
        y[i * M + m][0] += re * pilots[i * K + k][0] - im * pilots[i * K + k][1];
        y[i * M + m][1] += re * pilots[i * K + k][1] + im * pilots[i * K + k][0];
      }
    }
  }
}

// Detects in blocks of more and more active devices, and prints what was counted.
static int count(const jadce_config* config, const char* name) {
  jadce_plan* plan = NULL;
  calls = 0;
  if (jadce_create(config, &plan) != JADCE_OK) {
    fprintf(stderr, "%s\n", jadce_last_error());
    return 1;
  }
  const long planned = calls;
  const jadce_block block = {y, JADCE_COMPLEX64, 0, {0, 0, 0}};
  jadce_result result = {.activity = activity, .active = active, .channels = &channels[0][0], .channel_var = var};
  calls = 0;
  int iterations = 0, found = 0;
  for (int16_t repeat = 0; repeat < 5; ++repeat) {
    receive(2 * repeat, repeat);
    if (jadce_detect(plan, &block, 0.01, &result) != JADCE_OK) return 1;
    iterations += result.iterations;
    found += result.found;
  }
  const long detected = calls;
  jadce_destroy(plan);
  printf("%s %ld %ld %d %d\n", name, planned, detected, iterations, found);
  return 0;
}

// Plans until a pool's thread has been quick enough to begin a task, which finds no memory; then with memory again.
static int run_short(const jadce_config* config) {
  int status = JADCE_OK;
  jadce_plan* plan = NULL;
  __atomic_store_n(&scarce, 1, __ATOMIC_RELAXED);
  for (int attempt = 0; attempt < 200 && status == JADCE_OK; ++attempt) {
    status = jadce_create(config, &plan);
    if (status == JADCE_OK) jadce_destroy(plan);
  }
  printf("scarce %d %s\n", status, jadce_last_error());
  __atomic_store_n(&scarce, 0, __ATOMIC_RELAXED);
  return count(config, "after");
}

int main(int argc, char** argv) {
  caller = 1;
  if (argc != 2) return 2;
  jadce_config config;
  jadce_config_init(&config);
  config.devices = K, config.subcarriers = N, config.symbols = T, config.antennas = M;
  config.threads = 2;
  for (int n = 0; n < N; ++n)  // K is a prime: rows on a subcarrier are distinct
    for (int t = 0; t < T; ++t) rows[t * N + n] = (n * n * n + (1 + 7 * n * n % (K - 1)) * t) % K;
  for (int i = 0; i < T * N * K; ++i) {
    const double turns = (double)(rows[i / K] * (i % K) % K) / K;
    pilots[i][0] = (float)cos(2 * 3.141592653589793 * turns);
    pilots[i][1] = (float)-sin(2 * 3.141592653589793 * turns);
  }
  int status = 0;
  config.pilot_rows = rows;
  config.prior = argv[1];
  status |= count(&config, "rows");
  config.activity_rate = 0;
  status |= count(&config, "learned");
  config.pilot_rows = NULL;
  for (int i = 0; i < T * N * K; ++i)
    for (int part = 0; part < 2; ++part) pilots[i][part] = (float)unit();
  config.pilots = &pilots[0][0];
  status |= count(&config, "pilots");
  status |= run_short(&config);
  config.prior = "gaussian";
  status |= count(&config, "gaussian");
  return status;
}
