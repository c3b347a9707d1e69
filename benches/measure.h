/* What the benchmarks share. */
#ifndef SAMPO_BENCHES_MEASURE_H
#define SAMPO_BENCHES_MEASURE_H

double now(void);                /* seconds */
double median(double *x, int n); /* sorts x */

/* Fused multiply-adds in registers on all threads, for about 2 ms: GFLOP/s. Shared machines drift, so measure it
 * between the turns of what is compared with it. */
double peak_gflops(void);

#endif
