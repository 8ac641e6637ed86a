/* Spoken commands on a microcontroller: what lies between the microphone and the network, and after it. */
#ifndef COMMAND_H_
#define COMMAND_H_

#include <stdint.h>

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The network keeps no state of its own: its states are outputs of a step and inputs of the next. In between they are
   kept here, as the runtime uses the memory of inputs and outputs for both. */
void command_begin(int8_t states[COMMAND_STATE_BYTES]);
void command_give(const int8_t states[COMMAND_STATE_BYTES], int8_t *const inputs[]);
void command_take(const int8_t *const outputs[], int8_t states[COMMAND_STATE_BYTES]);

/* Log-mel values of COMMAND_FRAMES frames to the eight bits of the network's input. */
void command_quantize(const float log_mel[COMMAND_FRAMES * COMMAND_MELS], int8_t *input);

/* When a word counts as heard: utils/stream.py, class Rule. */
typedef struct {
  float recent[COMMAND_VETO_STEPS][COMMAND_LABELS]; /* probabilities of the last steps, a ring */
  uint32_t step, deaf_until, last_sure;
  int said; /* the word that has stayed sure since it was heard, or -1 */
} command_decoder;

void command_decoder_begin(command_decoder *decoder);
/* A label's index, or -1 where nothing is heard. */
int command_decode(command_decoder *decoder, const int8_t *probabilities);

#ifdef __cplusplus
}
#endif
#endif
