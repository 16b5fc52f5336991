/* What a gNB and a plug-in for activity detection agree on: the functions that OpenAirInterface's loader looks up in
 * libactivity<version>.so, as those of its LDPC, polar and demapper modules. */
#ifndef ACTIVITY_DEFS_H
#define ACTIVITY_DEFS_H

#include <stdint.h>

/* OpenAirInterface's type of received samples. */
typedef struct {
  int16_t r, i;
} c16_t;

/* Where the pilots lie in the received grid. rxdataF[antenna] has one OFDM symbol after the other, each of fft_size
 * subcarriers, of which the first one used is first_carrier; those behind the last one wrap around. */
typedef struct {
  int32_t fft_size, first_carrier;
  int32_t symbol;  /* first symbol with pilots */
  float noise_var; /* complex variance per entry, in units of the samples */
} activity_grid_t;

typedef struct {
  int32_t found, trusted;
  int32_t most;       /* room in the two arrays, set by the caller */
  int32_t* device;    /* active devices, ascending */
  float* probability; /* of each to be active */
} activity_report_t;

/* Zero, or -1 with a message on stderr. init is called once, and again only after shutdown; init_thread by every worker
 * before its first compute after an init. */
typedef int32_t activity_init_t(void);
typedef int32_t activity_init_thread_t(void);
typedef int32_t activity_shutdown_t(void);
typedef int32_t activity_compute_t(const c16_t* const* rxdataF, const activity_grid_t* grid, activity_report_t* report);

activity_init_t activity_init;
activity_init_thread_t activity_init_thread;
activity_shutdown_t activity_shutdown;
activity_compute_t activity_compute;

#endif
