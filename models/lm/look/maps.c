/* The part of a run's page that looks into the model: maps of attention, and the table of what follows what. */
#include <inttypes.h>
#include <string.h>

#include "models/lm/look/look_internal.h"

enum { MOST_MAP_LAYERS = 24, MOST_MAP_HEADS = 16, LABEL_BYTES = 32, LABEL_CHARACTERS = 8 };

/* A token as a label: visible signs for white space, hexadecimal digits for what is no UTF-8. */
static void label_of(lm_piece piece, char label[LABEL_BYTES]) {
    size_t used = 0;
    int shown = 0;
    for (size_t i = 0; i < piece.size && shown < LABEL_CHARACTERS; shown++) {
        uint32_t code = 0;
        char character[5];
        int length = lm_utf8_decode(piece.bytes + i, piece.size - i, &code);
        if (length == 0)
            snprintf(character, sizeof character, "%02X", (unsigned char)piece.bytes[i]);
        else
            lm_utf8_encode(code == '\n'  ? 0x23ce
                           : code == ' ' ? 0x2423
                           : code < 0x20 ? 0x2400 + code
                                         : code,
                           character);
        used += (size_t)snprintf(label + used, LABEL_BYTES - used, "%s", character);
        i += length ? (size_t)length : 1;
    }
}

/* Labels of tokens ids[count], or of all tokens; NULL: out of memory, nothing is drawn. */
static const char *const *labels_of(const lm_page *p, const int32_t *ids, int64_t count) {
    char(*labels)[LABEL_BYTES] = tensor_arena_alloc(p->arena, (size_t)count * sizeof *labels, NULL);
    const char **list = tensor_arena_alloc(p->arena, (size_t)count * sizeof *list, NULL);
    for (int64_t i = 0; labels && list && i < count; i++) {
        labels[i][0] = '\0';
        label_of(lm_decode(&p->instance.tokenizer, ids ? ids[i] : (int32_t)i), labels[i]);
        list[i] = labels[i];
    }
    return labels ? list : NULL;
}

static void attention_maps(FILE *file, const lm_page *p) {
    if (!tensor_ok(p->weights)) return;
    const int64_t layers = p->weights.shape[0], heads = p->weights.shape[1], count = p->weights.shape[2];
    const char *const *labels = labels_of(p, p->ids.i32, count);
    if (!labels) return;
    fputs("<h2>Where it looks</h2>\n<p>Each row is a token of the prompt; the stronger a cell's colour, the "
          "more "
          "the token attends to the one above that column. Colours go with the square root. Click a map to "
          "enlarge it.</p>\n<p class=\"prompt\">",
          file);
    lm_page_text(file, p->prompt);
    fputs("</p>\n", file);
    for (int64_t l = 0; l < layers && l < MOST_MAP_LAYERS; l++) {
        fprintf(file, "<h3>Layer %" PRId64 "</h3>\n<div class=\"maps\">\n", l + 1);
        for (int64_t h = 0; h < heads && h < MOST_MAP_HEADS; h++) {
            char title[64];
            snprintf(title, sizeof title, "Layer %" PRId64 ", head %" PRId64, l + 1, h + 1);
            fputs("<figure class=\"card\" tabindex=\"0\">", file);
            lm_svg_heat(file, &(lm_heat){title, p->weights.f32 + (l * heads + h) * count * count, count,
                                         count, count, labels});
            fprintf(file, "<figcaption>head %" PRId64 "</figcaption></figure>\n", h + 1);
        }
        fputs("</div>\n", file);
    }
    if (layers > MOST_MAP_LAYERS || heads > MOST_MAP_HEADS)
        fprintf(file, "<p>Of %" PRId64 " layers with %" PRId64 " heads the first.</p>\n", layers, heads);
}

static void table_map(FILE *file, const lm_page *p) {
    if (!tensor_ok(p->table)) return;
    const int64_t count = p->table.shape[0];
    const char *const *labels = labels_of(p, NULL, count);
    if (!labels) return;
    fputs(
        "<h2>What follows what</h2>\n<p>All that the model knows: each row is a token; the stronger a cell's "
        "colour, the likelier the token above that column comes next. Colours go with the square root.</p>\n"
        "<div class=\"alone card\">",
        file);
    lm_svg_heat(file,
                &(lm_heat){"Probabilities of the next token", p->table.f32, count, count, count, labels});
    fputs("</div>\n", file);
}

void lm_page_maps(FILE *file, const lm_page *p) {
    attention_maps(file, p);
    table_map(file, p);
}
