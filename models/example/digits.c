/* Digits as a hand might draw them. */
#include <math.h>

#include "models/example/example.h"

/* The way of the pen: two figures a point, its column from 0 to 4 and its row from 0 to 8. */
static const char *const strokes[10] = {
    "2011030617283746433120", "123038",     "02103042430848",
    "0110304233143345463818", "3830054535", "4000044345463818",
    "30120618384634140516",   "00401838",   "2442301002244638180624",
    "4334140210304345382818",
};

/* The square of the distance from (x, y) to the line from p to q. */
static float distance(float x, float y, const float p[2], const float q[2]) {
    const float dx = q[0] - p[0], dy = q[1] - p[1], length = dx * dx + dy * dy;
    const float along = length > 0 ? ((x - p[0]) * dx + (y - p[1]) * dy) / length : 0;
    const float at = fminf(fmaxf(along, 0), 1), ex = p[0] + at * dx - x, ey = p[1] + at * dy - y;
    return ex * ex + ey * ey;
}

static float between(tensor_rng *rng, double low, double high) {
    return (float)(low + (high - low) * tensor_rng_uniform(rng));
}

void example_digit(float *pixels, int side, int digit, tensor_rng *rng) {
    float points[16][2];
    int count = 0;
    const float size = (float)side, height = size * between(rng, 0.55, 0.75);
    const float width = height * between(rng, 0.5, 0.8);
    const float lean = width * between(rng, -0.3, 0.3), tilt = height * between(rng, -0.1, 0.1);
    const float left = size / 2 + size * between(rng, -0.08, 0.08),
                top = size / 2 + size * between(rng, -0.08, 0.08);
    const float thick = size * between(rng, 0.04, 0.08);
    for (const char *at = strokes[digit]; *at; at += 2, count++) {
        const float u = (float)(at[0] - '0') / 4 - 0.5f, v = (float)(at[1] - '0') / 8 - 0.5f;
        points[count][0] = left + u * width - v * lean + size * between(rng, -0.02, 0.02);
        points[count][1] = top + v * height + u * tilt + size * between(rng, -0.02, 0.02);
    }
    for (int i = 0; i < side * side; i++) {
        float nearest = size * size;
        const float x = (float)(i % side) + 0.5f, y = (float)(i / side) + 0.5f;
        for (int j = 0; j + 1 < count; j++)
            nearest = fminf(nearest, distance(x, y, points[j], points[j + 1]));
        pixels[i] = fminf(fmaxf(thick + 0.5f - sqrtf(nearest), 0), 1); /* the edge is a pixel wide */
    }
}
