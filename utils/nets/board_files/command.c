#include "command.h"

#include <math.h>
#include <string.h>

void command_begin(int8_t states[COMMAND_STATE_BYTES]) {
  for (int i = 0; i < COMMAND_STATES; states += command_states[i++].bytes) {
    memset(states, command_states[i].zero_point, command_states[i].bytes);
  }
}

void command_give(const int8_t states[COMMAND_STATE_BYTES], int8_t *const inputs[]) {
  for (int i = 0; i < COMMAND_STATES; states += command_states[i++].bytes) {
    memcpy(inputs[command_states[i].input], states, command_states[i].bytes);
  }
}

void command_take(const int8_t *const outputs[], int8_t states[COMMAND_STATE_BYTES]) {
  for (int i = 0; i < COMMAND_STATES; states += command_states[i++].bytes) {
    memcpy(states, outputs[command_states[i].output], command_states[i].bytes);
  }
}

void command_quantize(const float log_mel[COMMAND_FRAMES * COMMAND_MELS], int8_t *input) {
  for (int i = 0; i < COMMAND_FRAMES * COMMAND_MELS; i++) {
    float value = rintf(log_mel[i] / COMMAND_INPUT_SCALE) + COMMAND_INPUT_ZERO_POINT;
    input[i] = (int8_t)fminf(fmaxf(value, -128.0f), 127.0f);
  }
}

void command_decoder_begin(command_decoder *decoder) {
  memset(decoder, 0, sizeof *decoder);
  decoder->said = -1;
}

/* Mean of a label's probability over the last steps. */
static float average(const command_decoder *decoder, int label, int n_steps) {
  float sum = 0;
  for (int i = 0; i < n_steps; i++) {
    sum += decoder->recent[(decoder->step + COMMAND_VETO_STEPS - i) % COMMAND_VETO_STEPS][label];
  }
  return sum / n_steps;
}

int command_decode(command_decoder *decoder, const int8_t *probabilities) {
  const uint32_t step = decoder->step;
  for (int label = 0; label < COMMAND_LABELS; label++) {
    decoder->recent[step % COMMAND_VETO_STEPS][label] = (probabilities[label] + 128) / 256.0f;
  }
  int best = 0;
  float highest = -1;
  for (int label = 0; label < COMMAND_KEYWORDS; label++) {
    const float mean = average(decoder, label, COMMAND_SMOOTHED_STEPS);
    if (mean > highest) {
      best = label;
      highest = mean;
    }
  }
  const float doubt = average(decoder, COMMAND_UNKNOWN, COMMAND_VETO_STEPS);
  decoder->step++;
  if (highest - COMMAND_VETO * doubt < COMMAND_THRESHOLD) return -1;
  if (step > decoder->last_sure + 1) decoder->said = -1;
  decoder->last_sure = step;
  if (step < decoder->deaf_until || best == decoder->said) return -1;
  decoder->deaf_until = step + COMMAND_REFRACTORY_STEPS;
  decoder->said = best;
  return best;
}
