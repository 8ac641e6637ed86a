/* Arduino: a PDM microphone, a word a line on the serial port. Needs a TensorFlow Lite Micro library with the
   operations of operations.h, and a board with a floating-point unit and 200 MHz or more, such as a Portenta H7. */
#include <PDM.h>

#include "listen.h"

static Listener listener;
static int16_t waiting[4096]; /* a ring of a quarter of a second */
static volatile uint32_t written = 0, heard = 0;

static void keep() {
  static int16_t block[256];
  const int n = PDM.read(block, sizeof block) / sizeof *block;
  for (int i = 0; i < n; i++) waiting[written++ % 4096] = block[i];
}

void setup() {
  Serial.begin(115200);
  PDM.onReceive(keep);
  if (!listener.begin() || !PDM.begin(1, 16000)) {
    Serial.println("no network or no microphone");
    while (true) {
    }
  }
}

void loop() {
  if (written - heard < COMMAND_HOP) return;
  int16_t samples[COMMAND_HOP];
  for (int i = 0; i < COMMAND_HOP; i++) samples[i] = waiting[heard++ % 4096];
  const int label = listener.hear(samples);
  if (label >= 0) Serial.println(command_labels[label]);
}
