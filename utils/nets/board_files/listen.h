/* The network and its front end in tflite-micro: samples in, words out. C++, for the sketches. */
#ifndef LISTEN_H_
#define LISTEN_H_

#include <math.h>
#include <string.h>

#include "command.h"
#include "operations.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

class Listener {
 public:
  /* False if the runtime is another version, lacks an operation, or the arenas are too small. */
  bool begin() {
    if (!command_add_operations(&operations_)) return false;
    if (front_end_.AllocateTensors() != kTfLiteOk || network_.AllocateTensors() != kTfLiteOk) return false;
    for (int i = 0; i <= COMMAND_STATES; i++) {
      inputs_[i] = network_.input(i)->data.int8;
      outputs_[i] = network_.output(i)->data.int8;
    }
    command_begin(states_);
    command_decoder_begin(&decoder_);
    memset(window_, 0, sizeof window_);
    return true;
  }

  /* The next COMMAND_HOP samples at 16 kHz: the index of a label that was heard, or -1. */
  int hear(const int16_t *samples) {
    memmove(window_, window_ + COMMAND_HOP, (COMMAND_WINDOW - COMMAND_HOP) * sizeof *window_);
    for (int i = 0; i < COMMAND_HOP; i++) window_[COMMAND_WINDOW - COMMAND_HOP + i] = samples[i] / 32768.0f;
    memcpy(front_end_.input(0)->data.f, window_, sizeof window_);
    if (front_end_.Invoke() != kTfLiteOk) return -1;
    memcpy(log_mel_ + n_frames_ * COMMAND_MELS, front_end_.output(0)->data.f, COMMAND_MELS * sizeof *log_mel_);
    if (++n_frames_ < COMMAND_FRAMES) return -1;
    n_frames_ = 0;
    command_give(states_, inputs_);
    command_quantize(log_mel_, inputs_[COMMAND_INPUT]);
    if (network_.Invoke() != kTfLiteOk) return -1;
    const int heard = command_decode(&decoder_, outputs_[COMMAND_OUTPUT]);
    command_take(outputs_, states_);
    return heard;
  }

 private:
  tflite::MicroMutableOpResolver<COMMAND_OPERATIONS> operations_;
  alignas(16) uint8_t front_end_arena_[COMMAND_FRONT_END_ARENA];
  alignas(16) uint8_t network_arena_[COMMAND_NETWORK_ARENA];
  tflite::MicroInterpreter front_end_{tflite::GetModel(command_front_end), operations_, front_end_arena_,
                                      sizeof front_end_arena_};
  tflite::MicroInterpreter network_{tflite::GetModel(command_network), operations_, network_arena_,
                                    sizeof network_arena_};
  int8_t *inputs_[COMMAND_STATES + 1], *outputs_[COMMAND_STATES + 1], states_[COMMAND_STATE_BYTES];
  command_decoder decoder_;
  float window_[COMMAND_WINDOW], log_mel_[COMMAND_FRAMES * COMMAND_MELS];
  int n_frames_ = 0;
};

#endif
