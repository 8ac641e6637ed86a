// In the audio thread, for browsers that hand out no blocks of a device: the microphone's sound, straight to the worker
// that hears it. Nothing waits here, and what the worker has no time for yet waits in its port.

const BLOCK = 1024; // frames

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this._start();
    this._missing = 0; // frames for which the microphone gave nothing
    this.port.onmessage = ({ data }) => {
      this._worker = data;
    };
  }

  _start() {
    this._block = new Float32Array(BLOCK);
    this._filled = 0;
  }

  process([channels]) {
    this._begun ||= channels.length > 0; // a device that starts has nothing yet
    if (!this._worker || !this._begun) return true;
    const n_frames = channels.length ? channels[0].length : 128;
    for (const channel of channels)
      for (let i = 0; i < n_frames; i++) this._block[this._filled + i] += channel[i] / channels.length;
    if (!channels.length) this._missing += n_frames;
    this._filled += n_frames;
    if (this._filled >= BLOCK) {
      // When its last sample was there, by the clock that the page has too.
      const message = { samples: this._block, rate: sampleRate, at: Date.now(), missing: this._missing };
      this._worker.postMessage(message, [this._block.buffer]);
      this._start();
    }
    return true;
  }
}

registerProcessor("capture", Capture);
