/* rope - the frequencies of rotary positions, and how they are stretched for longer contexts */
#ifndef MS_MODEL_ROPE_H
#define MS_MODEL_ROPE_H

#include "model/config.h"

/* Kinds by the names of Hugging Face's "rope_type". */
const char *ms_rope_name(ms_rope_kind kind);
bool ms_rope_find(const char *name, ms_rope_kind *out);

/* frequency[j], j < head_dim / 2: the angle of pair j at position p is p * frequency[j].
 * Returns the factor of cosines and sines (1 but for yarn). */
double ms_rope_frequencies(const ms_config *c, double *frequency);

#endif
