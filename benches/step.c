/* See step.h. */
#include "benches/step.h"

#include <string.h>

enum { TEXT = 1 << 19 }; /* tokens: as the Kalevala has */

static const lm_option *option_of(const lm_model *model, const char *name) {
    for (const lm_option *o = model->options; o && o->name; o++)
        if (strcmp(o->name, name) == 0) return o;
    return NULL;
}

static double number_of(const lm_model *model, const char *name) {
    const lm_option *o = option_of(model, name);
    return o ? (double)*(const int64_t *)o->value : 0;
}

/* Two for each multiply-add of the forward pass: of a token with each parameter of the linear layers, and of its query
 * with the keys and values that it sees, on average half of them. */
static void count_flops(training *t, const lm_model *model, const setting *s) {
    const double layers = number_of(model, "layers"), width = number_of(model, "width");
    const double tokens = (double)(t->rows * t->context);
    t->linear_flops = 2 * tokens * (layers * 12 * width * width + (double)s->vocabulary * width);
    t->attention_flops = 2 * tokens * layers * (double)(t->context + 1) * width;
    if (width == 0) t->linear_flops = 0; /* a table alone */
}

double training_flops(const training *t) {
    return 3 * (t->linear_flops + t->attention_flops);
}

double training_limited(const training *t) {
    return t->precision == TENSOR_FLOAT32 ? training_flops(t) : 0;
}

static bool set_options(const lm_model *model, const char *const *options, tensor_error *err) {
    for (; options && *options; options += 2) {
        const lm_option *o = option_of(model, options[0]);
        if (!o) return tensor_fail(err, "%s has no option %s", model->name, options[0]);
        if (!lm_option_set(o, options[1], err)) return false;
    }
    return !model->check || model->check(model->self, err);
}

void setting_print(const setting *s, tensor_error *err) {
    const lm_model *model = s->program();
    if (err->text[0] || !set_options(model, s->options, err)) return;
    const lm_option *tied = option_of(model, "tied-head");
    if (!option_of(model, "width")) return;
    printf("%s vocabulary=%lld context=%lld batch=%lld width=%.0f layers=%.0f heads=%.0f gpt2=%d\n", s->name,
           (long long)s->vocabulary, (long long)(s->context ? s->context : model->defaults.context),
           (long long)(s->rows ? s->rows : model->defaults.batch), number_of(model, "width"),
           number_of(model, "layers"), number_of(model, "heads"), tied && *(const bool *)tied->value);
}

bool setting_estimate(const setting *s, setting_cost *cost, tensor_error *err) {
    enum { GRADIENTS = 64 << 20, PROGRAM = 16 << 20 /* of the shards together; code and stacks */ };
    const lm_model *model = s->program();
    training t = {.rows = s->rows ? s->rows : model->defaults.batch,
                  .context = s->context ? s->context : model->defaults.context};
    if (!set_options(model, s->options, err)) return false;
    count_flops(&t, model, s);
    const double tokens = (double)(t.rows * t.context), width = number_of(model, "width");
    const double parameters = t.linear_flops / tokens / 2 + (double)(s->vocabulary + t.context) * width;
    const bool shards = parameters * 4 * 16 <= GRADIENTS && t.rows >= 16;
    const double at_once = shards ? tokens / 16 * tensor_threads() : tokens;
    cost->flops = training_flops(&t);
    cost->bytes = 16 * parameters + 4 * model->activations(model->self, (int32_t)s->vocabulary) * at_once +
                  GRADIENTS + PROGRAM;
    return true;
}

static bool make_model(training *t, const lm_model *model, const setting *s, tensor_error *err) {
    t->params = nn_params_new();
    if (!t->params) return tensor_fail(err, "out of memory");
    if (!set_options(model, s->options, err)) return false;
    model->init(model->self, t->params, s->vocabulary, s->positions ? s->positions : t->context);
    if (!nn_params_finalize(t->params, 1) || !nn_adamw_init(&t->adamw, t->params, NN_ADAMW_DEFAULTS))
        return tensor_fail(err, "%.200s", nn_params_error(t->params));
    t->parallel = lm_parallel_new(&(lm_instance){.model = model, .params = t->params, .context = t->context});
    return t->parallel || tensor_fail(err, "out of memory");
}

bool training_begin(training *t, const setting *s, tensor_precision precision, tensor_error *err) {
    const lm_model *model = s->program();
    *t = (training){.arena = tensor_arena_new(err),
                    .rows = s->rows ? s->rows : model->defaults.batch,
                    .context = s->context ? s->context : model->defaults.context,
                    .c.model = model,
                    .precision = precision,
                    .err = err};
    if (!t->arena || !make_model(t, model, s, err)) return false;
    nn_parallel_set_precision(t->parallel, precision);
    count_flops(t, model, s);
    t->text = tensor_new(t->arena, TENSOR_I32, TENSOR_SHAPE(TEXT), err);
    tensor_rng rng = {.seed = 1};
    return tensor_ok(t->text) && tensor_rand_integers(t->text, &rng, 0, (int32_t)s->vocabulary, err) &&
           lm_batch_new(&t->c.batch, t->rows, t->context, t->arena, err);
}

void training_end(training *t) {
    nn_parallel_free(t->parallel);
    nn_params_free(t->params);
    tensor_arena_free(t->arena);
}

double training_draw(training *t) {
    const double start = now();
    lm_batch_draw(&t->c.batch, (lm_tokens){t->text.i32, TEXT, sizeof(int32_t)},
                  lm_rng(1, LM_STREAM_BATCHES, (uint64_t)t->steps++));
    return now() - start;
}

double training_backward(training *t, nn_loss *loss, void *context) {
    double mean;
    const double start = now();
    if (!nn_parallel_backward(t->parallel, t->rows, loss, context, &mean, t->err)) return -1;
    return now() - start;
}

double training_update(training *t) {
    const double start = now();
    if (!nn_adamw_step(&t->adamw, t->params)) {
        tensor_fail(t->err, "%.200s", nn_params_error(t->params));
        return -1;
    }
    return now() - start;
}

double training_step(void *context) {
    training *t = context;
    const double start = now();
    training_draw(t);
    if (training_backward(t, lm_loss, &t->c) < 0 || training_update(t) < 0) return -1;
    return now() - start;
}
