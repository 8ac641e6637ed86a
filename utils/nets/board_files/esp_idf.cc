/* ESP-IDF 5 with the component espressif/esp-tflite-micro: an I2S microphone such as the INMP441, a word a line. */
#include <cstdio>

#include "driver/i2s_std.h"
#include "listen.h"

/* Pins of the microphone: change them to yours. */
static const gpio_num_t kClock = GPIO_NUM_41, kWord = GPIO_NUM_42, kData = GPIO_NUM_2;

static Listener listener;

extern "C" void app_main(void) {
  i2s_chan_handle_t microphone;
  const i2s_chan_config_t channel = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_0, I2S_ROLE_MASTER);
  ESP_ERROR_CHECK(i2s_new_channel(&channel, nullptr, &microphone));
  i2s_std_config_t config = {};
  config.clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(16000);
  config.slot_cfg = I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO);
  config.gpio_cfg.mclk = I2S_GPIO_UNUSED;
  config.gpio_cfg.bclk = kClock;
  config.gpio_cfg.ws = kWord;
  config.gpio_cfg.dout = I2S_GPIO_UNUSED;
  config.gpio_cfg.din = kData;
  ESP_ERROR_CHECK(i2s_channel_init_std_mode(microphone, &config));
  ESP_ERROR_CHECK(i2s_channel_enable(microphone));
  if (!listener.begin()) {
    std::printf("the network does not fit this runtime\n");
    return;
  }
  int32_t wide[COMMAND_HOP]; /* such microphones give 24 bits, the highest first */
  int16_t samples[COMMAND_HOP];
  while (true) {
    size_t n_bytes;
    ESP_ERROR_CHECK(i2s_channel_read(microphone, wide, sizeof wide, &n_bytes, portMAX_DELAY));
    for (int i = 0; i < COMMAND_HOP; i++) samples[i] = static_cast<int16_t>(wide[i] >> 16);
    const int label = listener.hear(samples);
    if (label >= 0) std::printf("%s\n", command_labels[label]);
  }
}
