#include "autograd/ops.h"

#define ENTRY(name) &ag_op_##name,
const ag_op *const ag_ops[] = {AG_OPS(ENTRY) NULL};
