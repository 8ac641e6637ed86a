/* On a computer: whether the golden pairs come out. The network is run by whoever is at the other end of the pipe:
   it is sent the C array, then the inputs of each step, and sends back the outputs. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "golden.h"

static int8_t inputs[COMMAND_INPUT_BYTES], outputs[COMMAND_OUTPUT_BYTES], states[COMMAND_STATE_BYTES];

int main(void) {
  int8_t *in[COMMAND_STATES + 1], *out[COMMAND_STATES + 1];
  for (int i = 0, at = 0; i <= COMMAND_STATES; at += command_input_bytes[i++]) in[i] = inputs + at;
  for (int i = 0, at = 0; i <= COMMAND_STATES; at += command_output_bytes[i++]) out[i] = outputs + at;
  if (fwrite(command_network, 1, COMMAND_NETWORK_BYTES, stdout) != COMMAND_NETWORK_BYTES) return 2;
  command_begin(states);
  for (int pair = 0; pair < COMMAND_GOLDEN; pair++) {
    command_give(states, in);
    memcpy(in[COMMAND_INPUT], command_golden_inputs[pair], sizeof command_golden_inputs[pair]);
    if (fwrite(inputs, 1, sizeof inputs, stdout) != sizeof inputs || fflush(stdout)) return 2;
    if (fread(outputs, 1, sizeof outputs, stdin) != sizeof outputs) return 2;
    if (memcmp(out[COMMAND_OUTPUT], command_golden_outputs[pair], COMMAND_LABELS)) {
      fprintf(stderr, "golden pair %d differs\n", pair);
      return 1;
    }
    command_take((const int8_t *const *)out, states);
  }
  fprintf(stderr, "all %d golden pairs come out\n", COMMAND_GOLDEN);
  return 0;
}
