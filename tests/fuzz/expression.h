/* The expression that the differential target builds: operands, of which each step adds one. */
#ifndef SAMPO_TESTS_EXPRESSION_H
#define SAMPO_TESTS_EXPRESSION_H

#include "sampo/autograd.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/jets.h"

typedef struct operand {
    ag_var *var;
    jets jets;
} operand;

typedef struct expression {
    const uint8_t *data;
    size_t size;
    operand operands[16];
    int count;
} expression;

/* A number below `count` from the next byte; 0 behind the last. */
int64_t expression_byte(expression *e, int64_t count);
/* Chooses an operation and operands, and writes its result; none where the operation does not take them. */
void expression_step(expression *e, operand *result);

#endif
