/* Looking at runs and checkpoints. */
#ifndef SAMPO_LM_LOOK_H
#define SAMPO_LM_LOOK_H

#include "models/lm/files/files.h"

int lm_info_command(const lm_model *model, int argc, char *const *argv);
int lm_plot_command(const lm_model *model, int argc, char *const *argv);
int lm_report_command(const lm_model *model, int argc, char *const *argv);

#endif
