/* A graph as text for Graphviz; what is measured with SAMPO_PROFILE=1. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/autograd/tape_test.h"

static void expect_text(FILE *file, const char *text) {
    char found[2000] = "";
    rewind(file);
    found[fread(found, 1, sizeof found - 1, file)] = '\0';
    cr_expect_str_eq(found, text);
}

Test(inspect, a_graph_for_graphviz) {
    ag_tape *tape = ag_tape_new();
    FILE *file = tmpfile();
    tensor_storage memory = {(float[]){1, 2}, 8, 0};
    ag_var w;
    ag_parameter(&w, tensor_wrap(&memory, TENSOR_F32, TENSOR_SHAPE(2), NULL), true, "a \"b\"");
    ag_var *x = filled(tape, false, 0, TENSOR_SHAPE(3, 2)), *other = filled(tape, true, 0, TENSOR_SHAPE(2));
    ag_var *y = ag_mul(ag_exp(x), &w), *unused = ag_square(other);
    ag_var *loss = total(ag_add(y, y));
    cr_assert(unused && ag_dot(file, loss));
    expect_text(file, "digraph {\n"
                      "  node [fontname=\"sans-serif\", shape=ellipse];\n"
                      "  n1 [label=\"sum\\n[]\"];\n"
                      "  n2 [label=\"add\\n[3, 2]\"];\n"
                      "  n2 -> n1;\n"
                      "  n3 [label=\"mul\\n[3, 2]\"];\n"
                      "  n3 -> n2;\n"
                      "  n3 -> n2;\n"
                      "  n4 [label=\"exp\\n[3, 2]\"];\n"
                      "  n4 -> n3;\n"
                      "  n5 [label=\"a \\\"b\\\"\\n[2]\", shape=box, style=filled];\n"
                      "  n5 -> n3;\n"
                      "}\n");
    cr_expect(ag_backward(loss), "the drawing has left nothing behind");
    cr_expect(ag_dot(file, loss));
    cr_expect_not(ag_dot(file, NULL));
    fclose(file);
    ag_tape_free(tape);
}

static ag_var *twice(const void *context, ag_var *const *in, tensor_rng *rng) {
    (void)context, (void)rng;
    return ag_exp(ag_matmul(in[0], in[0]));
}

/* Of each operation the calls, nested ones as well; without the variable nothing is printed. */
Test(inspect, profile) {
    for (int on = 0; on < 2; on++) {
        if (on) cr_assert_eq(setenv("SAMPO_PROFILE", "1", 1), 0);
        FILE *file = tmpfile();
        char text[4000];
        const int kept = dup(2);
        ag_tape *tape = ag_tape_new();
        for (int i = 0; i < 5; i++, ag_reset(tape)) {
            ag_var *x = filled(tape, true, 0, TENSOR_SHAPE(4, 4));
            cr_assert(ag_backward(total(ag_checkpoint(twice, NULL, 0, 1, &x, NULL))));
            cr_assert_null(ag_matmul(x, filled(tape, true, 0, TENSOR_SHAPE(3, 4))), "a failure in between");
        }
        fflush(stderr);
        cr_assert(dup2(fileno(file), 2) >= 0);
        ag_tape_free(tape);
        fflush(stderr);
        cr_assert(dup2(kept, 2) >= 0);
        close(kept);
        rewind(file);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
        if (!on) {
            cr_expect_str_eq(text, "");
            continue;
        }
        unsetenv("SAMPO_PROFILE");
        cr_expect(strncmp(text, "SAMPO_PROFILE: ", 15) == 0, "%s", text);
        cr_expect(strstr(text, "\nmatmul               forward         10 "), "forward and once more: %s",
                  text);
        cr_expect(strstr(text, "\nmatmul               backward         5 "), "%s", text);
        cr_expect(strstr(text, "\nsum                  forward          5 "), "%s", text);
        cr_expect(strstr(text, "\ncheckpoint           backward         5 "), "%s", text);
    }
}
