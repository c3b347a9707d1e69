/* The main function of every model. */
#include "models/lm/lm.h"

int main(int argc, char **argv) {
    return lm_main(lm_program(), argc, argv);
}
