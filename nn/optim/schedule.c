/* Learning rates by iteration: + - * / alone, which no compiler here may contract to fma, and nothing of
 * libm, so that they have the same bits on every machine. */
#include "nn/optim/state.h"

/* (1 - cos(pi x)) / 2 for x in 0..1, within 2e-16: cos(pi x) = sin(t), t = pi (1/2 - x) in +-pi/2, as its Taylor
 * series to t^23 in Horner's form: t (1 - t^2/(2 3) (1 - t^2/(4 5) (...))). */
static double half_wave(double x) {
    static const double pi = 3.14159265358979323846;
    double t = pi * (0.5 - x), series = 1;
    for (int n = 22; n >= 2; n -= 2) series = 1 - t * t / (n * (n + 1)) * series;
    return (1 - t * series) / 2;
}

double nn_schedule_rate(const nn_schedule *s, int64_t i) {
    const int64_t warmup = s->warmup > 0 ? s->warmup : 0; /* so that no difference below overflows */
    if (i < warmup && s->kind == NN_ONE_CYCLE)
        return s->first + (s->rate - s->first) * half_wave((double)i / (double)warmup);
    if (i < warmup) return s->rate * ((double)(i + 1) / ((double)warmup + 1));
    if (s->kind == NN_CONSTANT) return s->rate;
    if (s->kind == NN_STEP_DECAY)
        return s->rate * (s->every > 0 ? nn_power(s->factor, (i - warmup) / s->every) : 1);
    if (i >= s->end) return s->lowest;
    const int64_t fall = s->fall > warmup ? s->fall : warmup;
    if (i < fall) return s->rate;
    double x = (double)(i - fall) / (double)(s->end - fall); /* 0 <= x < 1 */
    double fallen = s->kind == NN_LINEAR_DECAY ? x : half_wave(x);
    return s->rate - (s->rate - s->lowest) * fallen;
}
