/* What the example programs share: their command line, a line from time to time, handwritten digits, pictures in text.
 * The method that a program shows stands in its own file. */
#ifndef SAMPO_EXAMPLE_H
#define SAMPO_EXAMPLE_H

#include "models/lm/lm.h"

typedef struct example {
    lm_model program; /* its name, and how it was called: for messages */
    int64_t iterations, seed, threads;
    tensor_error err; /* where the program's own work reports */
} example;

/* Reads the command line: --iters, whose default is given, --seed, --threads, --help and the program's own options
 * (ended by {0}; NULL: none). Returns -1 to go on, else the exit status: the help or the fault has been printed. */
int example_begin(example *e, const char *name, const char *summary, int64_t iterations, const lm_option *own,
                  int argc, char *const *argv);

/* After a step, counted from 0: prints its loss if it is the first, the last or one that ends a tenth of the run.
 * False, with a text in e->err, where the loss is no finite number. */
bool example_step(example *e, int64_t step, double loss);

/* The end: frees the tape and the parameters (of one model or of two; NULL: none). Where the work has failed it prints
 * the first text of e->err, the parameters and the tape. Returns the exit status. */
int example_end(example *e, bool ok, ag_tape *tape, nn_params *params, nn_params *others);

/* The stream of random numbers that data come from; nn_params_finalize uses 0, 1, ... */
enum { EXAMPLE_STREAM = 1000 };

/* Draws a digit, 0 to 9, into pixels [side, side] as a hand might: leaning, wide or narrow, thick or thin, anywhere it
 * fits. A pixel is from 0, paper, to 1, ink. */
void example_digit(float *pixels, int side, int digit, tensor_rng *rng);

/* Prints pictures [N, rows, columns] of numbers from 0 to 1 in characters, as many side by side as 80 columns hold; two
 * rows of a picture become one line, as characters are about twice as high as wide. */
void example_show(tensor pictures);

#endif
